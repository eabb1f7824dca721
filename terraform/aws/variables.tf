variable "region" {
  description = "Region of all resources."
  type        = string
}

variable "operator_cidr" {
  description = <<-EOT
    IPv4 network of the control node, as the hosts see it. It must reach the hosts' own addresses: a machine in a peered
    network, or one at the end of a VPN.
  EOT
  type        = string

  validation {
    condition     = can(cidrnetmask(var.operator_cidr)) && !endswith(var.operator_cidr, "/0")
    error_message = "operator_cidr is \"${var.operator_cidr}\"; it must be an IPv4 network like 10.0.8.0/24, and not everybody."
  }
}

variable "image_id" {
  description = "AMI of new hosts, Debian 12. Default: the newest of Debian's own. A newer one is for new hosts only."
  type        = string
  default     = null
}

variable "instance_types" {
  description = "Types to choose from, the cheapest first: a host gets the first that has its CPUs and memory."
  type        = list(object({ name = string, cpus = number, memory_mb = number }))
  default = [
    { name = "t3.small", cpus = 2, memory_mb = 2048 },
    { name = "t3.medium", cpus = 2, memory_mb = 4096 },
    { name = "m7i.large", cpus = 2, memory_mb = 8192 },
    { name = "m7i.xlarge", cpus = 4, memory_mb = 16384 },
    { name = "m7i.2xlarge", cpus = 8, memory_mb = 32768 },
    { name = "m7i.4xlarge", cpus = 16, memory_mb = 65536 },
  ]
}

variable "volume_gb" {
  description = "Size in GiB of each host's volume for data, by group."
  type        = map(number)
  default     = { kafka = 50, minio = 100 }
}

variable "root_gb" {
  description = "Size of each host's root volume in GiB."
  type        = number
  default     = 20
}
