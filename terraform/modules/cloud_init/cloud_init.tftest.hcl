variables {
  host           = "node1"
  authorized_key = "ssh-ed25519 AAAA operators"
}

run "it_is_cloud_config" {
  command = plan

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n") && yamldecode(output.user_data).hostname == "node1"
    error_message = "user_data is no cloud-config, or names another host."
  }
}

run "operators_get_in_by_key_only" {
  command = plan

  assert {
    condition = (
      yamldecode(output.user_data).users[0].ssh_authorized_keys == ["ssh-ed25519 AAAA operators"]
      && yamldecode(output.user_data).ssh_pwauth == false
    )
    error_message = "users: ${jsonencode(yamldecode(output.user_data).users)}"
  }
}

run "the_host_makes_its_key_itself_and_prints_its_public_half" {
  command = plan

  assert {
    condition     = !contains(keys(yamldecode(output.user_data)), "ssh_keys") && !strcontains(output.user_data, "PRIVATE KEY")
    error_message = "Every process on the host may read user data, and so may everybody who may describe the instance."
  }
  assert {
    condition = (
      yamldecode(output.user_data).ssh_deletekeys
      && yamldecode(output.user_data).ssh_genkeytypes == ["ed25519"]
      && yamldecode(output.user_data).ssh.emit_keys_to_console
    )
    error_message = "The console would not show the host's own key: ${output.user_data}"
  }
}

run "volumes_are_left_to_ansible" {
  command = plan

  assert {
    condition     = length(setintersection(["bootcmd", "disk_setup", "fs_setup", "mounts"], keys(yamldecode(output.user_data)))) == 0
    error_message = "cloud-init runs once, and a volume may come later: ${jsonencode(keys(yamldecode(output.user_data)))}"
  }
}
