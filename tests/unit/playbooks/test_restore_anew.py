"""A backup comes into a new system only; what has begun to work is refused before anything changes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ANSIBLE = Path(__file__).parents[3] / "ansible"
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
GROUPS = {
    "kafka": ["node1", "node2"],
    "minio": ["node1", "node2"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node2"],
    "training": ["node1"],
}
OTHER = '{"status":"success","first":"","second":"http://127.0.0.1:9000/models/releases/2","diff":6}'
OLDER = '{"status":"success","first":"http://b/models/r/1","second":"http://l/models/r/1","diff":7}'
TOPICS = """Topic: t TopicId: x PartitionCount: 2
 Topic: t Partition: 0 Leader: 1 Replicas: 1,12 Isr: 1,12
 Topic: t Partition: 1 Leader: 2 Replicas: 2,12 Isr: 2,12"""


@pytest.mark.parametrize(
    ("flink", "difference", "latest", "why"),
    [
        ("checkpoints/", "", "t:0:0", "as Flink has stored something"),
        ("", OTHER, "t:0:0", "it has objects that the copy has not: http://127.0.0.1:9000/models/releases/2"),
        ("", OLDER, "t:0:5", "t:0:5 (topic:partition:offset) have records"),
    ],
)
def test_a_system_that_has_begun_to_work_is_refused(  # noqa: PLR0913, PLR0917 - cases and fixtures
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, flink: str, difference: str, latest: str, why: str
) -> None:
    stand_in(
        "mc",
        f"""case "$*" in
  "cat "*) echo t ;;
  "ls lab/flink/") echo '{flink}' | grep . || true ;;
  "ls "*) echo '[2026] 0B models/' ;;
  "diff --json "*) echo '{difference}' | grep . || true ;;
  *) touch {tmp_path}/changed ;;
esac""",
    )
    stand_in("kafka-get-offsets", f"case $2 in earliest) echo t:0:0 ;; *) echo {latest} ;; esac")
    ran = run_playbook(ANSIBLE / "playbooks/restore_anew.yml", GROUPS)
    told = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode != 0, told
    assert why in told
    assert "Nothing was changed" in told
    assert not (tmp_path / "changed").exists()


def test_nothing_is_restored_where_nobody_looked_at_kafka(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in(
        "mc",
        f"""case "$*" in
  "cat "* | "diff "* | "ls lab/flink/") ;;
  "ls "*) echo '[2026] 0B models/' ;;
  *) touch {tmp_path}/changed ;;
esac""",
    )
    groups = GROUPS | {"minio": ["node3"]}
    ran = run_playbook(ANSIBLE / "playbooks/restore_anew.yml", groups, "--limit", "minio")
    told = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode != 0, told
    assert "Nothing was changed: no broker is in this run" in told
    assert not (tmp_path / "changed").exists()


@pytest.mark.parametrize(
    ("latest", "told"),
    [
        ("t:0:0 t:1:3", ["Nothing was changed: t:1:3 (topic:partition:offset)"]),
        ("t:0:0 t:1:0", ['1 has {"t": {"0": 7}}', '2 has {"t": {"1": 9}}', '12 has {"t": {"0": 7, "1": 9}}']),
    ],
)
def test_a_broker_renames_its_replicas_of_empty_topics(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, latest: str, told: list[str]
) -> None:
    stand_in("kafka-health", "echo healthy")
    stand_in("kafka-topics", f"echo '{TOPICS}'")
    stand_in(
        "kafka-get-offsets",
        f"case $2 in earliest) printf 't:0:0\\nt:1:0\\nother:0:4\\n' ;; *) printf '%s\\n' {latest} ;; esac",
    )
    role = ANSIBLE / "roles/kafka"
    (tmp_path / "play.yml").write_text(f"""
- hosts: kafka
  gather_facts: false
  vars_files: [{role}/vars/main.yml]
  vars:
    kafka_node_id: "{{{{ node_index }}}}"
    kafka_start_timeout_s: 1
    kafka_begin_offsets: {{t: {{"0": 7, "1": 9}}}}
  tasks:
    - ansible.builtin.include_tasks: {tmp_path}/begin_at.yml
    - ansible.builtin.debug:
        msg: "{{{{ node_index }}}} has {{{{ kafka_begin_here | to_json }}}}"
""")
    # the part before brokers stop
    tasks = (role / "tasks/begin_at.yml").read_text()
    (tmp_path / "begin_at.yml").write_text(tasks.partition("- name: Let them begin elsewhere")[0])
    groups = GROUPS | {"kafka": ["node1", "node2", "node12"]}
    ran = run_playbook(tmp_path / "play.yml", groups)
    output = " ".join((ran.stdout + ran.stderr).split())
    assert [each for each in told if each not in output] == [], output
