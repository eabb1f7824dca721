# The version is the one that Ansible's role go_program builds where no registry is reached; its go.sum pins the bytes.
terraform {
  required_version = ">= 1.6"

  # With all else that is this deployment's alone.
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
