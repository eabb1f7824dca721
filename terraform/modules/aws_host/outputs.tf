output "instance_id" {
  description = "The instance, known once its volumes are attached."
  value       = aws_instance.host.id
  depends_on  = [aws_volume_attachment.data]
}

output "data_volumes" {
  description = "udev's name of each group's volume, which does not depend on where it is attached."
  value = {
    for group, volume in aws_ebs_volume.data :
    group => "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(volume.id, "-", "")}"
  }
}
