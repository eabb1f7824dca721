output "hosts" {
  description = "Hosts with address, size and groups."
  value       = module.topology.hosts
}

output "inventory" {
  description = "For ansible/inventory/terraform.py."
  value = merge(module.topology.inventory, {
    ssh_config_file = local_file.ssh_config.filename
    hosts = {
      for name, variables in module.topology.inventory.hosts :
      name => merge(variables, { data_volumes = module.host[name].data_volumes })
    }
  })
  depends_on = [module.host, local_sensitive_file.private_key]
}

output "ssh_config" {
  description = "File for ssh -F."
  value       = local_file.ssh_config.filename
  depends_on  = [module.host]
}
