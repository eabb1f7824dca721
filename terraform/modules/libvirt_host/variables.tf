variable "host" {
  description = "The host, as module topology gives it."
  type = object({
    name      = string
    ip        = string
    cpus      = number
    memory_mb = number
  })
}

variable "domain_name" {
  description = "Name of the machine in libvirt, where names are unique."
  type        = string
}

variable "domain_type" {
  description = "Type of the machine: kvm or qemu."
  type        = string
}

variable "image" {
  description = "File with the disk image (qcow2). A newer image is for new hosts only."
  type        = string
}

variable "pool" {
  description = "Storage pool for the disk."
  type        = string
}

variable "network_id" {
  description = "Network that libvirt manages."
  type        = string
}

variable "uri" {
  description = "URI of libvirt."
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
