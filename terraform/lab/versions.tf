# Built-in resources only: nothing is fetched, so that Terraform and OpenTofu both work without a registry.
terraform {
  required_version = ">= 1.6"

  # The state lies with this deployment's other files.
  backend "local" {
    path = "../../build/lab/terraform.tfstate"
  }
}
