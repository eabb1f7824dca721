variable "hosts" {
  description = "Hosts, as module topology gives them."
  type = map(object({
    name      = string
    ip        = string
    cpus      = number
    memory_mb = number
    groups    = list(string)
  }))
}

variable "ports" {
  description = "Ports by name, as in ansible/inventory/group_vars/all/network.yml."
  type        = map(number)
}

variable "instance_types" {
  description = "Types to choose from, the cheapest first."
  type = list(object({
    name      = string
    cpus      = number
    memory_mb = number
  }))

  validation {
    condition     = length(var.instance_types) > 0
    error_message = "instance_types is empty; there must be at least one."
  }
}

variable "volume_gb" {
  description = "Size of the volume that each host of a group keeps its data on, by group."
  type        = map(number)

  validation {
    condition     = alltrue([for size in values(var.volume_gb) : size >= 1 && floor(size) == size])
    error_message = "volume_gb must be whole numbers of at least 1."
  }
}
