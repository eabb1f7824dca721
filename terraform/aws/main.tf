locals {
  # The same plain data that Ansible reads.
  network = yamldecode(file("${path.root}/../../ansible/inventory/group_vars/all/network.yml"))

  # Prefix of tags.
  name      = "fraud-detection"
  build_dir = abspath("${path.root}/../../build/${basename(abspath(path.root))}")
  ssh_dir   = "${local.build_dir}/ssh"
}

module "topology" {
  source  = "../modules/topology"
  pools   = var.pools
  subnet  = local.network.aws_subnet
  ssh_dir = local.ssh_dir
}

module "cloud" {
  source         = "../modules/cloud"
  hosts          = module.topology.hosts
  ports          = local.network.ports
  openings       = local.network.openings
  instance_types = var.instance_types
  volume_gb      = var.volume_gb
}

data "aws_ami" "debian" {
  count = var.image_id == null ? 1 : 0

  # Debian's account
  owners      = ["136693071363"]
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

module "host" {
  source   = "../modules/aws_host"
  for_each = module.topology.hosts

  host               = each.value
  name_prefix        = local.name
  region             = var.region
  instance_type      = module.cloud.instance_types[each.key]
  image_id           = coalesce(var.image_id, one(data.aws_ami.debian[*].id))
  root_gb            = var.root_gb
  volumes            = { for volume in values(module.cloud.volumes) : volume.group => volume if volume.host == each.key }
  subnet             = aws_subnet.hosts
  security_group_ids = { for group, resource in aws_security_group.service : group => resource.id }
  authorized_key     = trimspace(tls_private_key.operators.public_key_openssh)
  ssh_dir            = local.ssh_dir
}
