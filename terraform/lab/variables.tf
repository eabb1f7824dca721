variable "image" {
  description = "Alias of the hosts' image in Incus. Default: lab_image in ansible/inventory/group_vars/all/lab.yml."
  type        = string
  default     = null
}
