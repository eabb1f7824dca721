variable "host" {
  description = "The host, as module topology gives it."
  type = object({
    name   = string
    ip     = string
    groups = list(string)
  })
}

variable "name_prefix" {
  description = "Prefix of the host's name in tags."
  type        = string
}

variable "region" {
  description = "Region of the instance."
  type        = string
}

variable "instance_type" {
  description = "Type of the instance."
  type        = string
}

variable "image_id" {
  description = "AMI of a new instance; a newer one is for new hosts only."
  type        = string
}

variable "root_gb" {
  description = "Size of the root volume in GiB."
  type        = number
}

variable "volumes" {
  description = "Volumes for data: group => size in GiB and letter of the device. A group's lies under /var/lib/<group>."
  type        = map(object({ size_gb = number, letter = string }))
}

variable "subnet" {
  description = "Subnet that has the host's address."
  type        = object({ id = string, availability_zone = string })
}

variable "security_group_ids" {
  description = "Security group of each group of services."
  type        = map(string)
}

variable "authorized_key" {
  description = "Public SSH key of the operators."
  type        = string
}

variable "ssh_dir" {
  description = "Directory of known_hosts.d/, which has one file a host."
  type        = string
}
