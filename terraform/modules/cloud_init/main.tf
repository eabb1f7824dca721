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
    # Before packages and services, whose data they are for.
    bootcmd = concat([], [
      for point, device in var.volumes : [
        # A volume is attached once its instance runs.
        ["cloud-init-per", "once", "wait${replace(point, "/", "-")}", "sh", "-c", "until [ -b ${device} ]; do sleep 1; done"],
        ["cloud-init-per", "once", "mkfs${replace(point, "/", "-")}", "sh", "-c", "blkid ${device} || mkfs.ext4 -q ${device}"],
      ]
    ]...)
    mounts = [for point, device in var.volumes : [device, point, "ext4", "noatime,nofail", "0", "2"]]
  }
}
