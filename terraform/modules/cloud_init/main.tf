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
    ssh_pwauth     = false
    ssh_deletekeys = true
    ssh_keys = {
      ed25519_private = var.host_key.private
      ed25519_public  = var.host_key.public
    }
    package_update = true
    packages       = var.packages
  }
}
