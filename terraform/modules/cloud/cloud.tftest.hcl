variables {
  hosts = {
    node1 = { name = "node1", ip = "10.76.0.11", cpus = 2, memory_mb = 4096, groups = ["flink_jobmanager", "kafka", "minio"] }
    node2 = { name = "node2", ip = "10.76.0.12", cpus = 2, memory_mb = 5120, groups = ["flink_taskmanager", "kafka", "minio"] }
    node4 = { name = "node4", ip = "10.76.0.14", cpus = 2, memory_mb = 4096, groups = ["minio", "training"] }
  }
  ports = {
    ssh                          = 22
    kafka                        = 9092
    kafka_controller             = 9093
    minio                        = 9000
    minio_console                = 9001
    flink_web                    = 8081
    flink_jobmanager_rpc         = 6123
    flink_jobmanager_blob        = 6124
    flink_taskmanager_rpc_first  = 6200
    flink_taskmanager_data_first = 6140
  }
  instance_types = [
    { name = "t3.medium", cpus = 2, memory_mb = 4096 },
    { name = "t3.large", cpus = 2, memory_mb = 8192 },
  ]
  volume_gb = { kafka = 50, minio = 100 }
}

run "hosts_get_the_cheapest_type_that_fits" {
  command = plan

  assert {
    condition     = output.instance_types == { node1 = "t3.medium", node2 = "t3.large", node4 = "t3.medium" }
    error_message = jsonencode(output.instance_types)
  }
}

run "a_host_that_no_type_fits_is_named" {
  command = plan

  variables {
    instance_types = [{ name = "t3.medium", cpus = 2, memory_mb = 4096 }]
  }

  expect_failures = [output.instance_types]
}

run "hosts_that_keep_data_get_volumes" {
  command = plan

  assert {
    condition     = join(" ", keys(output.volumes)) == "node1-kafka node1-minio node2-kafka node2-minio node4-minio"
    error_message = jsonencode(output.volumes)
  }
  assert {
    condition     = output.volumes["node4-minio"] == { host = "node4", group = "minio", size_gb = 100 }
    error_message = jsonencode(output.volumes["node4-minio"])
  }
}

run "only_kafka_reaches_the_controllers" {
  command = plan

  assert {
    condition = [
      for opening in values(output.openings) : opening.from if opening.first_port <= 9093 && 9093 <= opening.last_port
    ] == ["kafka"]
    error_message = jsonencode(output.openings)
  }
}

run "operators_reach_what_they_work_with" {
  command = plan

  assert {
    condition = toset([
      for opening in values(output.openings) : "${opening.to} ${opening.first_port}" if opening.from == "operators" && opening.first_port != 22
    ]) == toset(["kafka 9092", "minio 9000", "minio 9001", "flink_jobmanager 8081"])
    error_message = jsonencode(output.openings)
  }
  assert {
    condition     = length([for opening in values(output.openings) : opening if opening.first_port == 22]) == 5
    error_message = jsonencode(output.openings)
  }
}

run "taskmanagers_exchange_records_on_their_range_of_ports" {
  command = plan

  assert {
    condition = output.openings["flink_taskmanager-taskmanager_rpc-flink_taskmanager"] == {
      to = "flink_taskmanager", from = "flink_taskmanager", first_port = 6200, last_port = 6239
    }
    error_message = jsonencode(output.openings)
  }
}
