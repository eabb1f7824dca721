output "instance_types" {
  description = "Type of each host's instance: name => type."
  value       = { for name, types in local.fitting_types : name => types[0] if length(types) > 0 }

  precondition {
    condition = alltrue([for types in values(local.fitting_types) : length(types) > 0])
    error_message = join("\n", [
      for name, types in local.fitting_types :
      "${name} needs ${var.hosts[name].cpus} CPUs and ${var.hosts[name].memory_mb} MB; no type in instance_types has both."
      if length(types) == 0
    ])
  }
}

output "volumes" {
  description = "Volumes for data: <host>-<group> => {host, group, size_gb, letter (of the device, /dev/sdf and so on)}."
  value       = local.volumes
}

output "security_groups" {
  description = "Groups of services; each is a security group of its own."
  value       = local.services
}

output "openings" {
  description = "Allowed connections: <to>-<rule>-<from> => {to, from (a group, or operators), first_port, last_port}."
  value       = local.openings
}
