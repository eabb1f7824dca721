output "user_data" {
  description = "What cloud-init does when the host starts for the first time."
  value       = "#cloud-config\n${yamlencode(local.settings)}"
}
