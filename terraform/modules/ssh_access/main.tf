locals {
  private_key_file = "${var.ssh_dir}/id_ed25519"
  # The public key carries it as its comment; see modules/incus_host.
  key_incarnation = try(split(" ", trimspace(file("${local.private_key_file}.pub")))[2], plantimestamp())

  # Differs from the state when the file was lost or edited, so that it is written again.
  config_present = try(file(var.config_file), "")
  config = (
    local.config_present == "${split("\n", local.config_present)[0]}\n${var.config}"
    ? local.config_present
    : "# Written by Terraform (${var.owner}) at ${plantimestamp()}\n${var.config}"
  )
}

resource "terraform_data" "key" {
  input            = { file = local.private_key_file }
  triggers_replace = { incarnation = local.key_incarnation, file = local.private_key_file }

  provisioner "local-exec" {
    command = "${path.module}/scripts/create_key.sh"
    environment = {
      FILE    = local.private_key_file
      COMMENT = local.key_incarnation
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -rf \"$(dirname \"$FILE\")\""
    environment = { FILE = self.output.file }
  }
}

resource "terraform_data" "config" {
  input            = { file = var.config_file }
  triggers_replace = { content = local.config }

  provisioner "local-exec" {
    command     = "mkdir -p \"$(dirname \"$FILE\")\" && printf %s \"$CONTENT\" > \"$FILE\""
    environment = { FILE = var.config_file, CONTENT = local.config }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\""
    environment = { FILE = self.output.file }
  }
}
