variables {
  host           = "node1"
  authorized_key = "ssh-ed25519 AAAA operators"
  host_key       = { private = "-----BEGIN OPENSSH PRIVATE KEY-----\nbbbb\n", public = "ssh-ed25519 BBBB" }
  volumes        = { "/var/lib/kafka" = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123" }
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

run "volumes_are_waited_for_formatted_once_and_mounted" {
  command = plan

  assert {
    condition = [for command in yamldecode(nonsensitive(output.user_data)).bootcmd : command[2]] == [
      "wait-var-lib-kafka", "mkfs-var-lib-kafka",
    ]
    error_message = "bootcmd: ${jsonencode(yamldecode(nonsensitive(output.user_data)).bootcmd)}"
  }
  assert {
    condition     = yamldecode(nonsensitive(output.user_data)).mounts[0][1] == "/var/lib/kafka"
    error_message = "mounts: ${jsonencode(yamldecode(nonsensitive(output.user_data)).mounts)}"
  }
}

run "a_host_without_volumes_mounts_nothing" {
  command = plan

  variables {
    volumes = {}
  }

  assert {
    condition     = length(yamldecode(nonsensitive(output.user_data)).mounts) == 0 && length(yamldecode(nonsensitive(output.user_data)).bootcmd) == 0
    error_message = "mounts: ${jsonencode(yamldecode(nonsensitive(output.user_data)).mounts)}"
  }
}
