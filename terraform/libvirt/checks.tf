# A warning of each plan and apply: what the control node found is in a file that nobody looks at.
check "kvm" {
  assert {
    condition     = var.domain_type == "kvm"
    error_message = "Machines are emulated, and Python in them is 6 to 10 times slower: domain_type is qemu. ansible/playbooks/control_node_libvirt.yml sets it where KVM does not boot the machines' image, and says why."
  }
}
