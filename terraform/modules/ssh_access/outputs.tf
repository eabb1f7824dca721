output "key_id" {
  description = "Identifies the key pair: when it changes, hosts are given the new public key."
  value       = terraform_data.key.id
}

output "config_file" {
  description = "File for ssh -F, known once it is written."
  value       = terraform_data.config.output.file
}
