module "ssh_access" {
  source      = "../modules/ssh_access"
  ssh_dir     = local.ssh_dir
  config_file = "${local.build_dir}/ssh_config"
  config      = module.topology.ssh_config
  owner       = local.owner
}

# Labs that were made before there was module ssh_access keep their key.
moved {
  from = terraform_data.ssh_key
  to   = module.ssh_access.terraform_data.key
}

moved {
  from = terraform_data.ssh_config
  to   = module.ssh_access.terraform_data.config
}
