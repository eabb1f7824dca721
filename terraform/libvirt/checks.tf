# A warning at each plan and apply, as nobody opens the file in which the control node noted the type.
check "kvm" {
  assert {
    condition     = var.domain_type == "kvm"
    error_message = "Machines are emulated, and Python in them is 6 to 10 times slower: domain_type is qemu. ansible/playbooks/control_node_libvirt.yml sets it where KVM does not boot the machines' image, and says why."
  }
}
