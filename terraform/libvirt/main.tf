locals {
  # The same plain data that Ansible reads.
  network = yamldecode(file("${path.root}/../../ansible/inventory/group_vars/all/network.yml"))

  # Name of the network and the storage pool, and prefix of the machines' names.
  name      = local.network.libvirt_network
  owner     = abspath(path.root)
  build_dir = abspath("${path.root}/../../build/${basename(abspath(path.root))}")
  ssh_dir   = "${local.build_dir}/ssh"
}

module "topology" {
  source  = "../modules/topology"
  pools   = var.pools
  subnet  = local.network.libvirt_subnet
  ssh_dir = local.ssh_dir
}

module "ssh_access" {
  source      = "../modules/ssh_access"
  ssh_dir     = local.ssh_dir
  config_file = "${local.build_dir}/ssh_config"
  config      = module.topology.ssh_config
  owner       = local.owner
}

resource "libvirt_network" "machines" {
  name      = local.name
  bridge    = local.name
  mode      = "nat"
  addresses = [local.network.libvirt_subnet]
  mtu       = local.network.lab_mtu
  domain    = local.network.dns_domain
  autostart = true

  dhcp {
    enabled = true
  }

  dns {
    enabled = true
  }
}

resource "libvirt_pool" "disks" {
  name = local.name
  type = "dir"

  target {
    path = "/var/lib/libvirt/${local.name}"
  }
}

module "host" {
  source   = "../modules/libvirt_host"
  for_each = module.topology.hosts

  host        = each.value
  domain_name = "${local.name}-${each.key}"
  domain_type = var.domain_type
  image       = var.image
  pool        = libvirt_pool.disks.name
  network_id  = libvirt_network.machines.id
  uri         = var.uri
  ssh_dir     = local.ssh_dir
  ssh_key_id  = module.ssh_access.key_id
}
