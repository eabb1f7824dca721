output "name" {
  description = "Name of the host, known once it can be reached by SSH."
  value       = var.host.name
  depends_on  = [terraform_data.settings]
}
