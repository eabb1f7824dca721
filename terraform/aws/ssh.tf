resource "tls_private_key" "operators" {
  algorithm = "ED25519"
}

resource "local_sensitive_file" "private_key" {
  filename        = "${local.ssh_dir}/id_ed25519"
  content         = tls_private_key.operators.private_key_openssh
  file_permission = "0600"
}

resource "local_file" "ssh_config" {
  filename        = "${local.build_dir}/ssh_config"
  content         = module.topology.ssh_config
  file_permission = "0644"
}
