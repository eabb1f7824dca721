resource "tls_private_key" "operators" {
  algorithm = "ED25519"
}

resource "local_sensitive_file" "private_key" {
  filename        = "${local.ssh_dir}/id_ed25519"
  content         = tls_private_key.operators.private_key_openssh
  file_permission = "0600"
}

# Known before the first connection: each host is given its key by cloud-init.
resource "local_file" "known_host" {
  for_each = module.host

  filename        = "${local.ssh_dir}/known_hosts.d/${each.key}"
  content         = "${each.key} ${each.value.host_key}\n"
  file_permission = "0644"
}

resource "local_file" "ssh_config" {
  filename        = "${local.build_dir}/ssh_config"
  content         = module.topology.ssh_config
  file_permission = "0644"
}
