resource "libvirt_volume" "disk" {
  name   = "${var.host.name}.qcow2"
  pool   = var.pool
  source = var.image
  format = "qcow2"

  lifecycle {
    # A newer image must not replace a disk with data.
    ignore_changes = [source]
  }
}

# Another number of CPUs or other memory replaces the machine; it keeps its disk.
resource "libvirt_domain" "machine" {
  name      = var.domain_name
  type      = var.domain_type
  vcpu      = var.host.cpus
  memory    = var.host.memory_mb
  autostart = true

  cpu {
    mode = var.domain_type == "kvm" ? "host-passthrough" : "maximum"
  }

  disk {
    volume_id = libvirt_volume.disk.id
  }

  network_interface {
    network_id = var.network_id
    hostname   = var.host.name
    addresses  = [var.host.ip]
    # scripts/configure.sh waits, and checks meanwhile that the machine still runs.
    wait_for_lease = false
  }

  # The provider's default is SPICE, for which Debian's QEMU needs another package.
  graphics {
    type        = "vnc"
    listen_type = "address"
  }

  video {
    type = "vga"
  }

  console {
    type        = "pty"
    target_type = "serial"
    target_port = "0"
  }
}

resource "terraform_data" "settings" {
  triggers_replace = {
    machine = libvirt_domain.machine.id
    ssh_key = var.ssh_key_id
  }

  provisioner "local-exec" {
    command = "${path.module}/scripts/configure.sh"
    environment = {
      NAME                = var.host.name
      DOMAIN              = libvirt_domain.machine.name
      DOMAIN_TYPE         = var.domain_type
      ADDRESS             = var.host.ip
      SSH_DIR             = var.ssh_dir
      LIBVIRT_DEFAULT_URI = var.uri
    }
  }
}
