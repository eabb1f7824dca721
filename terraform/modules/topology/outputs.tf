output "hosts" {
  description = "For Terraform's own modules: name => {name, node_index, ip, cpus, memory_mb, groups}."
  value       = local.hosts

  precondition {
    condition     = length(local.problems) == 0
    error_message = join("\n", local.problems)
  }
}

output "inventory" {
  description = "For Ansible: groups with their hosts, and each host's variables."
  value = {
    hosts = {
      for name, host in local.hosts : name => {
        ansible_host   = host.ip
        host_address   = host.ip
        ansible_user   = var.ssh_user
        node_index     = host.node_index
        host_cpus      = host.cpus
        host_memory_mb = host.memory_mb
      }
    }
    # All of them, as plays name kafka_controller even where it has no host.
    groups = {
      for group in keys(local.service_memory_mb) :
      group => [for name in local.names : name if contains(local.hosts[name].groups, group)]
    }
    children = { flink = ["flink_jobmanager", "flink_taskmanager"] }
  }
}

output "ssh_config" {
  description = "For ssh -F: every host by name and by address, with its known host key."
  value = join("\n", [
    for name in local.names : <<-EOT
      Host ${name} ${local.hosts[name].ip}
        HostName ${local.hosts[name].ip}
        HostKeyAlias ${name}
        User ${var.ssh_user}
        IdentityFile "${var.ssh_dir}/id_ed25519"
        IdentitiesOnly yes
        UserKnownHostsFile "${var.ssh_dir}/known_hosts.d/${name}"
        StrictHostKeyChecking yes
        ServerAliveInterval 15
    EOT
  ])
}
