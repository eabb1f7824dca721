# The default, with controllers of Kafka's own: terraform -chdir=terraform/lab apply -var-file=controllers.tfvars
pools = {
  control     = { first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }
  workers     = { first_node = 2, count = 2, memory_mb = 5120, groups = ["kafka", "minio", "zookeeper", "flink_taskmanager"] }
  training    = { first_node = 4, memory_mb = 5120, groups = ["minio", "flink_jobmanager", "training"] }
  controllers = { first_node = 61, count = 3, memory_mb = 640, groups = ["kafka_controller"] }
}
