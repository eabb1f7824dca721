variable "pools" {
  description = <<-EOT
    Pools of like hosts, by name. The hosts of a pool are node<first_node>, node<first_node + 1>, …: a host's number
    is its identity (address, Kafka node id), so growing one pool never moves the hosts of another.
  EOT
  type = map(object({
    first_node = number
    count      = optional(number, 1)
    cpus       = optional(number, 2)
    memory_mb  = number
    groups     = list(string)
  }))

  # Contradictions between the values are found in checks.tf.
  validation {
    condition = alltrue(flatten([
      for pool in var.pools : [for value in [pool.first_node, pool.count, pool.cpus, pool.memory_mb] : value >= 1 && floor(value) == value]
    ]))
    error_message = "first_node, count, cpus and memory_mb must be whole numbers of at least 1; wrong in ${join(", ", [
      for name, pool in var.pools : "pools.${name}"
      if !alltrue([for value in [pool.first_node, pool.count, pool.cpus, pool.memory_mb] : value >= 1 && floor(value) == value])
    ])}."
  }

  validation {
    condition     = alltrue([for pool in var.pools : pool.first_node + pool.count <= 181])
    error_message = "The highest host is node180; beyond it goes ${join(", ", [for name, pool in var.pools : "pools.${name}" if pool.first_node + pool.count > 181])} with first_node + count - 1."
  }
}

variable "subnet" {
  description = "IPv4 network of the hosts, CIDR, /24 or wider: node1 has its address 11, node2 12, …"
  type        = string

  validation {
    condition     = can(cidrhost(var.subnet, 1)) && try(tonumber(split("/", var.subnet)[1]) <= 24, false)
    error_message = "subnet is \"${var.subnet}\"; it must be an IPv4 network like 10.78.0.0/24, /24 or wider."
  }
}

variable "ssh_user" {
  description = "User on the hosts who may become root without a password."
  type        = string
  default     = "ops"
}

variable "ssh_dir" {
  description = "Directory on the control node with id_ed25519 and, one file a host, known_hosts.d/."
  type        = string
}
