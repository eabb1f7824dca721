locals {
  private_key_file = "${local.ssh_dir}/id_ed25519"
  ssh_config_file  = "${local.build_dir}/ssh_config"
  # The public key carries it as its comment; see modules/incus_host.
  ssh_key_incarnation = try(split(" ", trimspace(file("${local.private_key_file}.pub")))[2], plantimestamp())

  # The file as it is, if it says what it should; else new, so that it is written again when it was lost or edited.
  ssh_config_present = try(file(local.ssh_config_file), "")
  ssh_config = (
    local.ssh_config_present == "${split("\n", local.ssh_config_present)[0]}\n${module.topology.ssh_config}"
    ? local.ssh_config_present
    : "# Written by Terraform (${local.owner}) at ${plantimestamp()}\n${module.topology.ssh_config}"
  )
}

resource "terraform_data" "ssh_key" {
  input            = { file = local.private_key_file }
  triggers_replace = { incarnation = local.ssh_key_incarnation, file = local.private_key_file }

  provisioner "local-exec" {
    command = "${path.module}/scripts/create_ssh_key.sh"
    environment = {
      FILE    = local.private_key_file
      COMMENT = local.ssh_key_incarnation
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -rf \"$(dirname \"$FILE\")\""
    environment = { FILE = self.output.file }
  }
}

resource "terraform_data" "ssh_config" {
  input            = { file = local.ssh_config_file }
  triggers_replace = { content = local.ssh_config }

  provisioner "local-exec" {
    command     = "mkdir -p \"$(dirname \"$FILE\")\" && printf %s \"$CONTENT\" > \"$FILE\""
    environment = { FILE = local.ssh_config_file, CONTENT = local.ssh_config }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\""
    environment = { FILE = self.output.file }
  }
}
