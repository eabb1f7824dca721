# Built-in resources only: nothing is fetched, so that Terraform and OpenTofu both work without a registry.
terraform {
  required_version = ">= 1.6"

  # With all else that is this deployment's alone.
  backend "local" {
    path = "../../build/lab/terraform.tfstate"
  }
}
