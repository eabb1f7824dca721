locals {
  # create.sh writes it into the instance's settings, and each plan reads it back from Incus' own file of the instance.
  # Where an instance has vanished behind Terraform's back, there is no file: the time of the plan differs from what is
  # in the state, and the plan replaces the host.
  incarnation = try(
    yamldecode(file("${var.incus_dir}/containers/${var.host.name}/backup.yaml")).container.config["user.fraud_incarnation"],
    plantimestamp(),
  )
}

resource "terraform_data" "instance" {
  input = { name = var.host.name, owner = var.owner }

  triggers_replace = {
    incarnation  = local.incarnation
    ip           = var.host.ip
    image        = var.image
    network      = var.network
    storage_pool = var.storage_pool
  }

  provisioner "local-exec" {
    command = "${path.module}/scripts/create.sh"
    environment = {
      NAME         = var.host.name
      OWNER        = var.owner
      IMAGE        = var.image
      STORAGE_POOL = var.storage_pool
      INCUS_DIR    = var.incus_dir
      INCARNATION  = local.incarnation
      INSTANCE = yamlencode({
        config = {
          "boot.autostart" = "true"
          # Each host has user ids of its own: no host can touch another's files, and hosts do not share the kernel's
          # quota of keys, which counts by user.
          "security.idmap.isolated" = "true"
          "limits.cpu"              = tostring(var.host.cpus)
          "limits.memory"           = "${var.host.memory_mb}MiB"
          "user.fraud_incarnation"  = local.incarnation
          "user.fraud_owner"        = var.owner
        }
        devices = {
          root = { type = "disk", path = "/", pool = var.storage_pool }
          eth0 = { type = "nic", name = "eth0", network = var.network, "ipv4.address" = var.host.ip }
        }
      })
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/delete.sh"
    environment = { NAME = self.output.name, OWNER = self.output.owner }
  }
}

# Settings that can change on the running host.
resource "terraform_data" "settings" {
  triggers_replace = {
    instance  = terraform_data.instance.id
    cpus      = var.host.cpus
    memory_mb = var.host.memory_mb
    ssh_key   = var.ssh_key_id
  }

  provisioner "local-exec" {
    command = "${path.module}/scripts/configure.sh"
    environment = {
      NAME      = var.host.name
      CPUS      = var.host.cpus
      MEMORY_MB = var.host.memory_mb
      SSH_DIR   = var.ssh_dir
    }
  }
}
