terraform {
  required_version = ">= 1.6"

  # The state lies with this deployment's other files.
  backend "local" {
    path = "../../build/aws/terraform.tfstate"
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
    local = {
      source  = "hashicorp/local"
      version = ">= 2.5, < 3.0"
    }
    tls = {
      source  = "hashicorp/tls"
      version = ">= 4.0, < 5.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Project = local.name }
  }
}
