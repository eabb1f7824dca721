"""What control_node_remove.yml deletes: stand-ins for Incus and the daemons note what they are asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INCUS = """#!/bin/sh
echo "incus $*" >> "${0%/*}/calls"
case $1-$2 in
  list-*) cat "${0%/*}/instances" ;;
  image-get-property) cat "${0%/*}/recipe" ;;
  storage-get) cat "${0%/*}/owner" ;;
esac
"""
IMAGE, POOL = "incus image delete fraud-debian12", "incus storage delete fraud"


def removed(folder: Path, instances: list[dict[str, object]], *, recipe: str, owner: str) -> set[str]:
    """Run the playbook; return its calls that delete something or end a daemon."""
    (folder / "instances").write_text(json.dumps(instances))
    (folder / "recipe").write_text(f"{recipe}\n")
    (folder / "owner").write_text(f"{owner}\n")
    programs = {
        "incus": INCUS,
        "virsh": "#!/bin/sh\nexit 1\n",
        "start-stop-daemon": '#!/bin/sh\necho "start-stop-daemon $*" >> "${0%/*}/calls"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    ran = subprocess.run(
        ["ansible-playbook", "playbooks/control_node_remove.yml"],
        cwd=ROOT / "ansible",
        # a root without a state: there are no hosts
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "TERRAFORM_ROOT": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    calls = (folder / "calls").read_text().splitlines()
    return {call for call in calls if "delete" in call or call.startswith("start-stop-daemon")}


def instance(name: str, **config: str) -> dict[str, object]:
    return {"name": name, "config": {f"user.{key}": value for key, value in config.items()}}


def test_what_the_project_made_is_deleted(tmp_path: Path) -> None:
    assert removed(tmp_path, [], recipe="cc918508ec28", owner="fraud-detection") >= {IMAGE, POOL}


def test_what_another_checkout_uses_stays(tmp_path: Path) -> None:
    others = [instance("fraud-molecule-kafka-1", fraud_owner="/srv/other/molecule")]
    assert removed(tmp_path, others, recipe="cc918508ec28", owner="fraud-detection") == set()


@pytest.mark.parametrize(
    ("recipe", "owner", "gone"), [("", "fraud-detection", POOL), ("cc918508ec28", "", IMAGE)]
)
def test_what_others_made_stays(tmp_path: Path, recipe: str, owner: str, gone: str) -> None:
    assert removed(tmp_path, [instance("web")], recipe=recipe, owner=owner) == {gone}
