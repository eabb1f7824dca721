"""After a run that broke off, the next one completes it: what runs has the configuration on the disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

PLAYBOOK = Path(__file__).parents[3] / "ansible/playbooks/base.yml"
SERVICES = {
    "systemd-journald.service": "/etc/systemd/journald.conf.d/size.conf",
    "systemd-resolved.service": "/etc/systemd/resolved.conf.d/quiet.conf",
}


@pytest.mark.slow
def test_the_next_run_completes_one_that_broke_off(
    hosts_of: Callable[[str], dict[str, Host]],
    apply: Callable[..., Any],
    breaks: Callable[[int, int], list[int]],
    up_to_date: Callable[..., bool],
) -> None:
    hosts = hosts_of("base").values()
    # five changes on each host: two files, systemd's limits, the question what to restart, and the restart
    for changes in breaks(10, 2):
        # lower than any machine's own limit, which a container may be unable to raise
        files = 2_000 + changes
        settings = ["--extra-vars", json.dumps({"journal_max_mb": 50 + changes, "base_open_files": files})]
        apply(PLAYBOOK, *settings, break_off_after=changes)
        apply(PLAYBOOK, *settings)
        for host in hosts:
            assert (
                f"SystemMaxUse={50 + changes}M"
                in host.file(SERVICES["systemd-journald.service"]).content_string
            )
            limit = host.check_output("systemd-run --quiet --pipe --wait sh -c 'ulimit -Sn'")
            assert limit.strip() == str(files), "systemd gives services its former limit"
    for host in hosts:
        for unit, settings_file in SERVICES.items():
            assert up_to_date(host, unit, settings_file), f"{unit} runs with former settings"
            assert host.check_output(f"service-inputs changed {unit}") == ""
    assert "changed=0" not in apply(PLAYBOOK).stdout  # back to the settings that other tests expect
    assert "changed=0" in apply(PLAYBOOK).stdout


def test_each_service_notes_what_it_starts_with(host: Host) -> None:
    """This holds after a power cut, too."""
    for unit, settings_file in SERVICES.items():
        note = host.file(f"/run/service-inputs/{unit}").content_string.splitlines()
        assert note[0] == host.check_output(f"systemctl show --property=InvocationID --value {unit}")
        noted = [line.split()[1] for line in note[1:]]
        assert {settings_file, f"/etc/systemd/system/{unit}.d/service-inputs.conf"} <= set(noted)
