resource "aws_ebs_volume" "data" {
  for_each = var.volumes

  availability_zone = var.subnet.availability_zone
  size              = each.value.size_gb
  type              = "gp3"
  encrypted         = true

  tags = { Name = "${var.name_prefix}-${var.host.name}-${each.key}" }

  lifecycle {
    # Only an explicit decision deletes data, not the removal of a host or a group.
    prevent_destroy = true
  }
}

module "cloud_init" {
  source = "../cloud_init"

  host           = var.host.name
  authorized_key = var.authorized_key
}

resource "aws_instance" "host" {
  ami                    = var.image_id
  instance_type          = var.instance_type
  subnet_id              = var.subnet.id
  private_ip             = var.host.ip
  vpc_security_group_ids = [for group in var.host.groups : var.security_group_ids[group]]
  user_data              = module.cloud_init.user_data

  root_block_device {
    volume_size = var.root_gb
    volume_type = "gp3"
    encrypted   = true
  }

  metadata_options {
    http_tokens = "required"
  }

  tags = { Name = "${var.name_prefix}-${var.host.name}" }

  lifecycle {
    # A newer image or other user data must not replace a host.
    ignore_changes = [ami, user_data]
  }
}

resource "aws_volume_attachment" "data" {
  for_each = aws_ebs_volume.data

  instance_id = aws_instance.host.id
  volume_id   = each.value.id
  device_name = "/dev/sd${var.volumes[each.key].letter}"
}

resource "terraform_data" "host_key" {
  input            = { file = "${var.ssh_dir}/known_hosts.d/${var.host.name}" }
  triggers_replace = { instance = aws_instance.host.id, ssh_dir = var.ssh_dir }

  provisioner "local-exec" {
    command = "${path.module}/scripts/learn_host_key.py"
    environment = {
      NAME        = var.host.name
      INSTANCE_ID = aws_instance.host.id
      REGION      = var.region
      FILE        = "${var.ssh_dir}/known_hosts.d/${var.host.name}"
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\""
    environment = { FILE = self.output.file }
  }
}
