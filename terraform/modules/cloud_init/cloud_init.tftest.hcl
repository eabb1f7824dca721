variables {
  host           = "node1"
  authorized_key = "ssh-ed25519 AAAA operators"
  host_key       = { private = "-----BEGIN OPENSSH PRIVATE KEY-----\nbbbb\n", public = "ssh-ed25519 BBBB" }
}

run "it_is_cloud_config" {
  command = plan

  assert {
    condition     = startswith(nonsensitive(output.user_data), "#cloud-config\n") && yamldecode(nonsensitive(output.user_data)).hostname == "node1"
    error_message = "user_data is no cloud-config, or is for another host."
  }
}

run "operators_get_in_by_key_only" {
  command = plan

  assert {
    condition = (
      yamldecode(nonsensitive(output.user_data)).users[0].ssh_authorized_keys == ["ssh-ed25519 AAAA operators"]
      && yamldecode(nonsensitive(output.user_data)).ssh_pwauth == false
    )
    error_message = "users: ${jsonencode(yamldecode(nonsensitive(output.user_data)).users)}"
  }
  assert {
    condition     = yamldecode(nonsensitive(output.user_data)).ssh_keys.ed25519_public == "ssh-ed25519 BBBB"
    error_message = "The host would make a key of its own, that nobody knows."
  }
}

run "volumes_are_left_to_ansible" {
  command = plan

  assert {
    condition     = length(setintersection(["bootcmd", "disk_setup", "fs_setup", "mounts"], keys(yamldecode(nonsensitive(output.user_data))))) == 0
    error_message = "cloud-init runs once, and a volume may come later: ${jsonencode(keys(yamldecode(nonsensitive(output.user_data))))}"
  }
}
