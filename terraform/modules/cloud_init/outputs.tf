output "user_data" {
  description = "cloud-init's work when the host starts for the first time."
  value       = "#cloud-config\n${yamlencode(local.settings)}"
}
