variable "host" {
  description = "Name of the host."
  type        = string
}

variable "ssh_user" {
  description = "User who may become root without a password."
  type        = string
  default     = "ops"
}

variable "authorized_key" {
  description = "Public SSH key of the operators."
  type        = string
}

variable "packages" {
  description = "Debian packages that Ansible's roles rely on."
  type        = list(string)
  default     = ["acl", "nftables", "python3-apt", "python3-venv", "rsync", "sudo"]
}
