# The default, grown to four brokers and four TaskManagers: terraform -chdir=terraform/lab apply -var-file=grown.tfvars
pools = {
  control  = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
  workers  = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
  training = { first_node = 4, memory_mb = 5120, groups = ["minio", "flink_jobmanager", "training"] }
  broker   = { first_node = 5, memory_mb = 4096, groups = ["kafka", "flink_taskmanager"] }
  worker   = { first_node = 6, memory_mb = 3072, groups = ["flink_taskmanager"] }
}
