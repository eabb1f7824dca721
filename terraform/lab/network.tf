locals {
  network_settings_file = "/var/lib/incus/networks/${local.network.lab_network}/dnsmasq.raw"
  # Kept in dnsmasq's settings, the only part of a network that Incus writes to a file; see modules/incus_host.
  network_incarnation = try(
    regex("incarnation (\\S+)", file(local.network_settings_file))[0],
    plantimestamp(),
  )
}

resource "terraform_data" "network" {
  input = { name = local.network.lab_network, owner = local.owner }

  triggers_replace = {
    incarnation = local.network_incarnation
    name        = local.network.lab_network
    subnet      = local.network.lab_subnet
    mtu         = local.network.lab_mtu
    domain      = local.network.dns_domain
  }

  provisioner "local-exec" {
    command = "${path.module}/scripts/create_network.sh"
    environment = {
      NAME          = local.network.lab_network
      OWNER         = local.owner
      SETTINGS_FILE = local.network_settings_file
      ADDRESS       = "${cidrhost(local.network.lab_subnet, 1)}/${split("/", local.network.lab_subnet)[1]}"
      DHCP_RANGE    = "${cidrhost(local.network.lab_subnet, 200)}-${cidrhost(local.network.lab_subnet, 250)}"
      MTU           = local.network.lab_mtu
      DOMAIN        = local.network.dns_domain
      INCARNATION   = local.network_incarnation
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/delete_network.sh"
    environment = { NAME = self.output.name, OWNER = self.output.owner }
  }
}
