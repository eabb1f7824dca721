locals {
  hosts = merge([
    for pool in var.pools : {
      for index in range(pool.first_node, pool.first_node + pool.count) : "node${index}" => {
        name       = "node${index}"
        node_index = index
        ip         = cidrhost(var.subnet, 10 + index)
        cpus       = pool.cpus
        memory_mb  = pool.memory_mb
        groups     = sort(pool.groups)
      }
    }
  ]...)

  # In order of their numbers: node2 before node10.
  names = [for key in sort([for host in local.hosts : format("%03d", host.node_index)]) : "node${tonumber(key)}"]
}
