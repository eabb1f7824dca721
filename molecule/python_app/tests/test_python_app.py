import json

import pytest
from testinfra.host import Host

PYTHON = "/opt/fraud-detection/venv/bin/python"
SETTINGS = "/etc/fraud-detection/settings.json"


def is_training(host: Host) -> bool:
    return "training" in host.ansible.get_variables()["group_names"]


def test_project_is_the_wheel_and_reads_its_settings(host: Host) -> None:
    command = (
        "from flink_jobs.store.settings import load_settings; print(load_settings().kafka.bootstrap_servers)"
    )
    # in /, where no checkout's build/lab/settings.json comes first
    assert host.check_output(f"cd / && {PYTHON} -c '{command}'") == "192.0.2.1:9092"


def test_a_host_has_the_packages_of_its_group_only(host: Host) -> None:
    wanted, unwanted = ("sklearn", "pyflink") if is_training(host) else ("pyflink.table", "sklearn")
    assert host.run(f"{PYTHON} -c 'import {wanted}'").succeeded
    assert "No module named" in host.run(f"{PYTHON} -c 'import {unwanted}'").stderr


def test_modules_are_compiled_for_users_who_cannot_write(host: Host) -> None:
    site = "/opt/fraud-detection/venv/lib/python3.11/site-packages"
    assert host.file(f"{site}/pandas/__pycache__").is_directory


def test_settings_are_for_the_group_alone(host: Host) -> None:
    settings = host.file(SETTINGS)
    assert (settings.user, settings.group, settings.mode) == ("root", "fraud", 0o640)
    assert json.loads(settings.content_string)["s3"]["access_key"] == "molecule"
    assert host.run(f"setpriv --reuid=65534 --clear-groups cat {SETTINGS}").failed


@pytest.mark.parametrize(
    "command",
    [
        "fraud-audit",
        "fraud-consumer",
        "fraud-drift",
        "fraud-label",
        "fraud-models",
        "fraud-producer",
        "fraud-renew-risk",
        "fraud-retrain",
        "fraud-train",
    ],
)
def test_commands_are_where_models_are_trained(host: Host, command: str) -> None:
    assert host.exists(command) is is_training(host)
    if is_training(host):
        assert host.run(f"{command} --help").succeeded
