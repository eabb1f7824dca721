variable "pools" {
  description = "Pools of like hosts; see modules/topology. The default shares four hosts among all services; cluster.tfvars gives each its own."
  type = map(object({
    first_node = number
    count      = optional(number, 1)
    cpus       = optional(number, 2)
    memory_mb  = number
    groups     = list(string)
  }))
  default = {
    control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
    workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
    training = { first_node = 4, memory_mb = 5120, groups = ["minio", "flink_jobmanager", "training"] }
  }
}
