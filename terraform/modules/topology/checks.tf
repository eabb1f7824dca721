locals {
  # Least memory with which each group's service starts and handles a few records; the keys are all groups.
  service_memory_mb = {
    kafka             = 768
    kafka_controller  = 384
    minio             = 512
    zookeeper         = 256
    flink_jobmanager  = 1024
    flink_taskmanager = 1536
    training          = 1024
  }
  system_memory_mb = 256

  needed_memory_mb = {
    for name, pool in var.pools :
    name => local.system_memory_mb + sum(concat([0], [for group in pool.groups : lookup(local.service_memory_mb, group, 0)]))
  }

  group_sizes = {
    for group in keys(local.service_memory_mb) :
    group => sum(concat([0], [for pool in var.pools : pool.count if contains(pool.groups, group)]))
  }

  pools_by_host = transpose({
    for name, pool in var.pools :
    "pools.${name}" => [for index in range(pool.first_node, pool.first_node + pool.count) : "node${index}"]
  })

  problems = concat(
    flatten([
      for name, pool in var.pools : [
        for group in setsubtract(pool.groups, keys(local.service_memory_mb)) :
        "pools.${name}.groups: \"${group}\" is unknown; there are ${join(", ", keys(local.service_memory_mb))}."
      ]
    ]),
    [
      for name, pool in var.pools :
      "pools.${name}.memory_mb is ${pool.memory_mb}; ${join(" and ", pool.groups)} need at least ${local.needed_memory_mb[name]}."
      if pool.memory_mb < local.needed_memory_mb[name]
    ],
    [
      for name, pools in local.pools_by_host :
      "pools.*.first_node: ${name} is in ${join(" and in ", pools)}." if length(pools) > 1
    ],
    # Topics have three replicas.
    local.group_sizes.kafka >= 3 ? [] : [
      "pools.*.groups: kafka is on ${local.group_sizes.kafka} hosts; three replicas need at least 3."
    ],
    # A majority decides. Without any, the first hosts of kafka are brokers and controllers.
    contains([0, 1, 3, 5], local.group_sizes.kafka_controller) ? [] : [
      "pools.*.groups: kafka_controller is on ${local.group_sizes.kafka_controller} hosts; it must be 1, 3 or 5, or none."
    ],
    [
      for name, pool in var.pools :
      "pools.${name}.groups: kafka and kafka_controller, whose hosts are no brokers; take out one of the two."
      if contains(pool.groups, "kafka") && contains(pool.groups, "kafka_controller")
    ],
    local.group_sizes.minio >= 4 ? [] : [
      "pools.*.groups: minio is on ${local.group_sizes.minio} hosts; spread over drives, it needs at least 4."
    ],
    # A majority decides.
    contains([1, 3, 5], local.group_sizes.zookeeper) ? [] : [
      "pools.*.groups: zookeeper is on ${local.group_sizes.zookeeper} hosts; it must be 1, 3 or 5."
    ],
    local.group_sizes.flink_jobmanager >= 1 ? [] : [
      "pools.*.groups: flink_jobmanager is on no host; it needs at least 1."
    ],
    local.group_sizes.flink_taskmanager >= 1 ? [] : [
      "pools.*.groups: flink_taskmanager is on no host; it needs at least 1."
    ],
    local.group_sizes.training == 1 ? [] : [
      "pools.*.groups: training is on ${local.group_sizes.training} hosts; it must be exactly 1."
    ],
  )
}
