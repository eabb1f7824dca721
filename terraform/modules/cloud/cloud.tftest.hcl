variables {
  hosts = {
    node1 = { name = "node1", ip = "10.76.0.11", cpus = 2, memory_mb = 4096, groups = ["flink_jobmanager", "kafka", "minio"] }
    node2 = { name = "node2", ip = "10.76.0.12", cpus = 2, memory_mb = 5120, groups = ["flink_taskmanager", "kafka", "minio"] }
    node4 = { name = "node4", ip = "10.76.0.14", cpus = 2, memory_mb = 4096, groups = ["minio", "training"] }
  }
  ports = { ssh = 22, kafka = 9092, kafka_controller = 9093, flink_web = 8081, rpc_first = 6200 }
  openings = {
    ssh              = { to = ["all"], from = ["operators"] }
    kafka            = { to = ["kafka"], from = ["kafka", "training", "operators"] }
    kafka_controller = { to = ["kafka", "kafka_controller"], from = ["kafka", "kafka_controller"] }
    flink_web        = { to = ["flink_jobmanager"], from = ["operators"] }
    rpc_first        = { to = ["flink_taskmanager"], from = ["flink_taskmanager"], count = 40 }
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
    condition     = output.volumes["node4-minio"] == { host = "node4", group = "minio", size_gb = 100, letter = "g" }
    error_message = jsonencode(output.volumes["node4-minio"])
  }
}

run "a_host_that_gets_another_group_keeps_the_places_of_its_volumes" {
  command = plan

  variables {
    hosts = {
      node1 = { name = "node1", ip = "10.76.0.11", cpus = 2, memory_mb = 4096, groups = ["flink_jobmanager", "kafka", "minio"] }
      node4 = { name = "node4", ip = "10.76.0.14", cpus = 2, memory_mb = 4096, groups = ["kafka", "minio", "training", "zookeeper"] }
    }
    volume_gb = { kafka = 50, kafka_controller = 10, minio = 100, training = 10, zookeeper = 10 }
  }

  assert {
    condition = alltrue([
      for name in ["node1-kafka", "node1-minio", "node4-minio"] :
      output.volumes[name].letter == run.hosts_that_keep_data_get_volumes.volumes[name].letter
    ])
    error_message = jsonencode(output.volumes)
  }
  assert {
    condition     = length(distinct([for volume in values(output.volumes) : volume.letter if volume.host == "node4"])) == 4
    error_message = jsonencode(output.volumes)
  }
}

run "each_opening_is_a_rule_for_each_pair_of_groups" {
  command = plan

  assert {
    condition = [for name, opening in output.openings : name if opening.first_port != 22] == [
      "flink_jobmanager-flink_web-operators", "flink_taskmanager-rpc_first-flink_taskmanager",
      "kafka-kafka-kafka", "kafka-kafka-operators", "kafka-kafka-training",
      "kafka-kafka_controller-kafka", "kafka-kafka_controller-kafka_controller",
      "kafka_controller-kafka_controller-kafka", "kafka_controller-kafka_controller-kafka_controller",
    ]
    error_message = jsonencode(keys(output.openings))
  }
  assert {
    condition = output.openings["flink_taskmanager-rpc_first-flink_taskmanager"] == {
      to = "flink_taskmanager", from = "flink_taskmanager", first_port = 6200, last_port = 6239
    }
    error_message = jsonencode(output.openings)
  }
}

run "what_all_offer_is_a_rule_of_each_group" {
  command = plan

  assert {
    condition     = join(" ", output.security_groups) == "flink_jobmanager flink_taskmanager kafka kafka_controller training"
    error_message = jsonencode(output.security_groups)
  }
  assert {
    condition     = join(" ", [for opening in values(output.openings) : opening.to if opening.first_port == 22]) == join(" ", output.security_groups)
    error_message = jsonencode(output.openings)
  }
}

run "an_opening_without_a_number_is_refused" {
  command = plan

  variables {
    ports = { ssh = 22, kafka = 9092, kafka_controller = 9093, flink_web = 8081 }
  }

  expect_failures = [var.openings]
}
