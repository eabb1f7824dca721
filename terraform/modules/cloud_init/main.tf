locals {
  settings = {
    hostname = var.host
    # Ansible writes /etc/hosts.
    manage_etc_hosts = false
    users = [{
      name                = var.ssh_user
      shell               = "/bin/bash"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      ssh_authorized_keys = [var.authorized_key]
    }]
    ssh_pwauth = false
    # The host makes its own key, as all of its processes may read user data. The console shows the public half.
    ssh_deletekeys  = true
    ssh_genkeytypes = ["ed25519"]
    ssh             = { emit_keys_to_console = true }
    package_update  = true
    packages        = var.packages
  }
}
