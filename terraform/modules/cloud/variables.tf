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

variable "openings" {
  description = <<-EOT
    Allowed connections, as in ansible/inventory/group_vars/all/network.yml: by the port's name, the groups that offer it
    (or all), those that open connections to it (operators is the control node), and the number of ports.
  EOT
  type = map(object({
    to    = list(string)
    from  = list(string)
    count = optional(number, 1)
  }))

  validation {
    condition     = length(setsubtract(keys(var.openings), keys(var.ports))) == 0
    error_message = "openings has ${join(", ", setsubtract(keys(var.openings), keys(var.ports)))}; ports has no number for it."
  }
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
  description = "Size of each host's volume for data, by group."
  type        = map(number)

  validation {
    condition     = alltrue([for size in values(var.volume_gb) : size >= 1 && floor(size) == size])
    error_message = "volume_gb must be whole numbers of at least 1."
  }
}
