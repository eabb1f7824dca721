variable "host" {
  description = "The host, as module topology gives it."
  type = object({
    name      = string
    ip        = string
    cpus      = number
    memory_mb = number
  })
}

variable "image" {
  description = "Alias of the image in Incus. A newer image under the same alias is for new hosts only."
  type        = string
}

variable "network" {
  description = "Bridge that Incus manages."
  type        = string
}

variable "storage_pool" {
  description = "Incus storage pool of the driver dir."
  type        = string
}

variable "owner" {
  description = "Directory of this host's Terraform state; the instance is tagged with it."
  type        = string
}

variable "ssh_dir" {
  description = "Directory with id_ed25519.pub and known_hosts.d/."
  type        = string
}

variable "ssh_key_id" {
  description = "Identifies the key pair: when it changes, the host is given the new public key."
  type        = string
}

variable "incus_dir" {
  description = "Directory of Incus' daemon on this machine."
  type        = string
  default     = "/var/lib/incus"
}
