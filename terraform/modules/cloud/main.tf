locals {
  # The cheapest type that has what a host needs.
  fitting_types = {
    for name, host in var.hosts : name => [
      for type in var.instance_types : type.name if type.cpus >= host.cpus && type.memory_mb >= host.memory_mb
    ]
  }

  volumes = merge([
    for name, host in var.hosts : {
      for group in host.groups : "${name}-${group}" => { host = name, group = group, size_gb = var.volume_gb[group] }
      if contains(keys(var.volume_gb), group)
    }
  ]...)

  flink    = ["flink_jobmanager", "flink_taskmanager"]
  services = concat(["kafka", "minio", "training"], local.flink)

  # Who may open a connection to which port of which group. A TaskManager takes turns with ten ports; up to four a host.
  rules = {
    kafka            = { to = "kafka", from = concat(["kafka", "operators"], local.flink), first = var.ports.kafka }
    kafka_controller = { to = "kafka", from = ["kafka"], first = var.ports.kafka_controller }
    minio            = { to = "minio", from = concat(["operators"], local.services), first = var.ports.minio }
    minio_console    = { to = "minio", from = ["operators"], first = var.ports.minio_console }
    flink_web        = { to = "flink_jobmanager", from = concat(["operators"], local.flink), first = var.ports.flink_web }
    flink_rpc        = { to = "flink_jobmanager", from = local.flink, first = var.ports.flink_jobmanager_rpc }
    flink_blob       = { to = "flink_jobmanager", from = local.flink, first = var.ports.flink_jobmanager_blob }
    taskmanager_rpc = {
      to = "flink_taskmanager", from = local.flink, first = var.ports.flink_taskmanager_rpc_first, count = 40
    }
    taskmanager_data = {
      to = "flink_taskmanager", from = local.flink, first = var.ports.flink_taskmanager_data_first, count = 4
    }
  }

  openings = merge(
    { for group in local.services : "${group}-ssh-operators" => {
      to = group, from = "operators", first_port = var.ports.ssh, last_port = var.ports.ssh
    } },
    [
      for name, rule in local.rules : {
        for from in rule.from : "${rule.to}-${name}-${from}" => {
          to = rule.to, from = from, first_port = rule.first, last_port = rule.first + try(rule.count, 1) - 1
        }
      }
    ]...
  )
}
