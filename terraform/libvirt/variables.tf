variable "uri" {
  description = "URI of libvirt, on this machine or on another whose machines this one can reach."
  type        = string
  default     = "qemu:///system"
}

# ansible/playbooks/control_node_libvirt.yml sets image and domain_type, in control_node.auto.tfvars.json.
variable "image" {
  description = "File with the disk image of new machines (qcow2). A newer image is for new hosts only."
  type        = string

  validation {
    condition     = fileexists(var.image)
    error_message = "image: there is no file ${var.image}. Run ansible-playbook playbooks/control_node_libvirt.yml in ansible/, then apply again."
  }
}

variable "domain_type" {
  description = "Type of the machines: kvm, or qemu (emulation) where KVM does not run guest code."
  type        = string

  validation {
    condition     = contains(["kvm", "qemu"], var.domain_type)
    error_message = "domain_type is \"${var.domain_type}\"; it must be kvm or qemu."
  }
}
