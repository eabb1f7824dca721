locals {
  # The same plain data that Ansible reads.
  group_vars = "${path.root}/../../ansible/inventory/group_vars/all"
  lab        = yamldecode(file("${local.group_vars}/lab.yml"))
  network    = yamldecode(file("${local.group_vars}/network.yml"))

  # The tag of this lab's instances and network.
  owner = abspath(path.root)
  # Folder of this deployment's own files, deployment_dir in paths.yml.
  build_dir = abspath("${path.root}/../../build/${basename(abspath(path.root))}")
  ssh_dir   = "${local.build_dir}/ssh"
}

module "topology" {
  source  = "../modules/topology"
  pools   = var.pools
  subnet  = local.network.lab_subnet
  ssh_dir = local.ssh_dir
}

module "host" {
  source   = "../modules/incus_host"
  for_each = module.topology.hosts

  host         = each.value
  image        = coalesce(var.image, local.lab.lab_image)
  network      = terraform_data.network.output.name
  storage_pool = local.lab.lab_storage_pool
  owner        = local.owner
  ssh_dir      = local.ssh_dir
  ssh_key_id   = module.ssh_access.key_id
}
