output "host_key" {
  description = "The host's public SSH key."
  value       = trimspace(tls_private_key.host.public_key_openssh)
}

output "instance_id" {
  description = "The instance, known once its volumes are attached."
  value       = aws_instance.host.id
  depends_on  = [aws_volume_attachment.data]
}
