# Ansible's role go_program builds this version where no registry can be reached; its go.sum pins the source.
terraform {
  required_version = ">= 1.6"

  # The state lies with this deployment's other files.
  backend "local" {
    path = "../../build/libvirt/terraform.tfstate"
  }

  required_providers {
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "0.8.3"
    }
  }
}

provider "libvirt" {
  uri = var.uri
}
