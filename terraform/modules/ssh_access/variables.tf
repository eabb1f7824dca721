variable "ssh_dir" {
  description = "Directory for id_ed25519, id_ed25519.pub and, one file a host, known_hosts.d/."
  type        = string
}

variable "config_file" {
  description = "File for ssh -F."
  type        = string
}

variable "config" {
  description = "Content of that file, as module topology gives it."
  type        = string
}

variable "owner" {
  description = "Directory of the state; the file names it."
  type        = string
}
