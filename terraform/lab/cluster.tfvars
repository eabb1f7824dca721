# A host for each role: terraform -chdir=terraform/lab apply -var-file=cluster.tfvars
pools = {
  kafka             = { first_node = 1, count = 3, memory_mb = 2048, groups = ["kafka"] }
  minio             = { first_node = 11, count = 4, memory_mb = 1024, groups = ["minio"] }
  zookeeper         = { first_node = 51, count = 3, memory_mb = 512, groups = ["zookeeper"] }
  flink_jobmanager  = { first_node = 21, count = 2, memory_mb = 2048, groups = ["flink_jobmanager"] }
  flink_taskmanager = { first_node = 31, count = 2, memory_mb = 4096, groups = ["flink_taskmanager"] }
  training          = { first_node = 41, memory_mb = 4096, groups = ["training"] }
}
