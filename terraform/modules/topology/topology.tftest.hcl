variables {
  subnet  = "10.78.0.0/24"
  ssh_dir = "/srv/build/lab/ssh"
  pools = {
    control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
    workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
    training = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
  }
}

run "hosts_have_names_and_addresses_by_number" {
  command = plan

  assert {
    condition     = join(" ", keys(output.hosts)) == "node1 node2 node3 node4"
    error_message = "hosts: ${join(", ", keys(output.hosts))}"
  }
  assert {
    condition     = output.hosts["node3"].ip == "10.78.0.13" && output.hosts["node3"].node_index == 3
    error_message = "node3: ${jsonencode(output.hosts["node3"])}"
  }
  assert {
    condition     = output.hosts["node2"].memory_mb == 5120 && output.hosts["node2"].cpus == 2
    error_message = "node2: ${jsonencode(output.hosts["node2"])}"
  }
}

run "inventory_has_groups_and_variables" {
  command = plan

  assert {
    condition     = output.inventory.groups.kafka == ["node1", "node2", "node3"]
    error_message = "kafka: ${jsonencode(output.inventory.groups.kafka)}"
  }
  assert {
    condition     = output.inventory.groups.training == ["node4"]
    error_message = "training: ${jsonencode(output.inventory.groups.training)}"
  }
  assert {
    condition     = output.inventory.hosts["node1"].ansible_host == "10.78.0.11" && output.inventory.hosts["node1"].ansible_user == "ops"
    error_message = "node1: ${jsonencode(output.inventory.hosts["node1"])}"
  }
  assert {
    condition     = output.inventory.children.flink == ["flink_jobmanager", "flink_taskmanager"]
    error_message = "flink: ${jsonencode(output.inventory.children.flink)}"
  }
}

run "hosts_reach_each_other_at_their_own_addresses" {
  command = plan

  assert {
    condition     = { for name, host in output.inventory.hosts : name => host.host_address } == { for name, host in output.hosts : name => host.ip }
    error_message = jsonencode(output.inventory.hosts)
  }
}

run "ssh_config_names_each_host_by_name_and_address" {
  command = plan

  assert {
    condition     = strcontains(output.ssh_config, "Host node4 10.78.0.14\n")
    error_message = output.ssh_config
  }
  assert {
    condition     = strcontains(output.ssh_config, "IdentityFile \"/srv/build/lab/ssh/id_ed25519\"")
    error_message = output.ssh_config
  }
}

run "growing_a_pool_moves_no_other_host" {
  command = plan

  variables {
    pools = {
      control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
      workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
      more     = { first_node = 10, count = 3, memory_mb = 2048, groups = ["flink_taskmanager"] }
    }
  }

  assert {
    condition     = output.hosts["node4"].ip == "10.78.0.14" && output.hosts["node12"].ip == "10.78.0.22"
    error_message = "hosts: ${jsonencode(output.hosts)}"
  }
  assert {
    condition     = output.inventory.groups.flink_taskmanager == ["node2", "node3", "node10", "node11", "node12"]
    error_message = "flink_taskmanager: ${jsonencode(output.inventory.groups.flink_taskmanager)}"
  }
}

run "unknown_group_is_refused" {
  command = plan

  variables {
    pools = { all = { first_node = 1, count = 4, memory_mb = 4096, groups = ["kafak"] } }
  }
  expect_failures = [output.hosts]
}

run "too_little_memory_is_refused" {
  command = plan

  variables {
    pools = {
      control  = { first_node = 1, memory_mb = 2000, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
      workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
    }
  }
  expect_failures = [output.hosts]
}

run "an_even_number_of_zookeepers_is_refused" {
  command = plan

  variables {
    pools = {
      control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "flink_jobmanager"] }
      workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
    }
  }
  expect_failures = [output.hosts]
}

run "five_zookeepers_are_allowed" {
  command = plan

  variables {
    pools = {
      control   = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "flink_jobmanager"] }
      workers   = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "flink_taskmanager"] }
      training  = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
      zookeeper = { first_node = 51, count = 5, memory_mb = 512, groups = ["zookeeper"] }
    }
  }

  assert {
    condition     = output.inventory.groups.zookeeper == ["node51", "node52", "node53", "node54", "node55"]
    error_message = "zookeeper: ${jsonencode(output.inventory.groups.zookeeper)}"
  }
}

run "without_controllers_of_their_own_the_group_is_empty" {
  command = plan

  assert {
    condition     = output.inventory.groups.kafka_controller == []
    error_message = jsonencode(output.inventory.groups)
  }
}

run "three_controllers_are_allowed" {
  command = plan

  variables {
    pools = {
      control    = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
      workers    = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training   = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
      controller = { first_node = 61, count = 3, memory_mb = 640, groups = ["kafka_controller"] }
    }
  }

  assert {
    condition     = output.inventory.groups.kafka_controller == ["node61", "node62", "node63"]
    error_message = jsonencode(output.inventory.groups)
  }
  assert {
    condition     = output.inventory.groups.kafka == ["node1", "node2", "node3"]
    error_message = jsonencode(output.inventory.groups)
  }
}

run "an_even_number_of_controllers_is_refused" {
  command = plan

  variables {
    pools = {
      control    = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
      workers    = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training   = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
      controller = { first_node = 61, count = 2, memory_mb = 640, groups = ["kafka_controller"] }
    }
  }
  expect_failures = [output.hosts]
}

run "a_broker_that_is_a_controller_alone_is_refused" {
  command = plan

  variables {
    pools = {
      control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "kafka_controller", "minio", "zookeeper", "flink_jobmanager"] }
      workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training = { first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }
    }
  }
  expect_failures = [output.hosts]
}

run "overlapping_pools_are_refused" {
  command = plan

  variables {
    pools = {
      control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
      workers  = { first_node = 1, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
      training = { first_node = 4, count = 1, memory_mb = 4096, groups = ["minio", "training"] }
    }
  }
  expect_failures = [output.hosts]
}

run "fractions_are_refused" {
  command = plan

  variables {
    pools = { all = { first_node = 1, count = 1.5, memory_mb = 4096, groups = ["kafka"] } }
  }
  expect_failures = [var.pools]
}

run "narrow_subnet_is_refused" {
  command = plan

  variables {
    subnet = "10.78.0.0/28"
  }
  expect_failures = [var.subnet]
}
