locals {
  # The cheapest type with enough CPUs and memory for each host.
  fitting_types = {
    for name, host in var.hosts : name => [
      for type in var.instance_types : type.name if type.cpus >= host.cpus && type.memory_mb >= host.memory_mb
    ]
  }

  # Where a group's volume is attached, whatever other groups its host has: another letter would detach a volume in use.
  letters = {
    kafka             = "f"
    minio             = "g"
    zookeeper         = "h"
    kafka_controller  = "i"
    flink_jobmanager  = "j"
    flink_taskmanager = "k"
    training          = "l"
  }

  volumes = merge([
    for name, host in var.hosts : {
      for group in host.groups : "${name}-${group}" => {
        host = name, group = group, size_gb = var.volume_gb[group], letter = local.letters[group]
      }
      if contains(keys(var.volume_gb), group)
    }
  ]...)

  # The groups that openings name: "all" stands for every one of them, and operators are no group of hosts.
  services = sort(setsubtract(flatten([for opening in values(var.openings) : concat(opening.to, opening.from)]), ["all", "operators"]))

  # A cloud's rule lets in one group, to one port or range of ports, on one group.
  openings = merge(flatten([
    for port, opening in var.openings : [
      for to in contains(opening.to, "all") ? local.services : opening.to : {
        for from in opening.from : "${to}-${port}-${from}" => {
          to = to, from = from, first_port = var.ports[port], last_port = var.ports[port] + opening.count - 1
        }
      }
    ]
  ])...)
}
