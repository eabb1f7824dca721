output "hosts" {
  description = "Hosts with address, size and groups."
  value       = module.topology.hosts
}

output "inventory" {
  description = "For ansible/inventory/terraform.py."
  value       = merge(module.topology.inventory, { ssh_config_file = module.ssh_access.config_file })
  depends_on  = [module.host]
}

output "ssh_config" {
  description = "File for ssh -F."
  value       = module.ssh_access.config_file
  depends_on  = [module.host]
}
