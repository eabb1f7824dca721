output "instance_id" {
  description = "The instance, known once its volumes are attached."
  value       = aws_instance.host.id
  depends_on  = [aws_volume_attachment.data]
}

output "data_volumes" {
  description = "Each group's volume as udev names it, whatever place it was attached at."
  value = {
    for group, volume in aws_ebs_volume.data :
    group => "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(volume.id, "-", "")}"
  }
}
