"""The watch for secrets on command lines, which system tests and scenarios keep while playbooks run."""

import subprocess
import sys
import time

import pytest
from process_lists import no_secret_on_a_command_line

SECRETS = {"minio_root": "correct-horse-battery-staple"}
# waits, and then becomes a program that has what it reads on its command line for a second
SHOWS = """
import os, sys, time
time.sleep(float(sys.argv[1]))
os.execv(sys.executable, ["python", "-c", "import time; time.sleep(1)", sys.stdin.read()])
"""


@pytest.mark.parametrize("late_s", [0, 1.5])
def test_a_secret_is_seen_whenever_its_process_shows_it(late_s: float) -> None:
    def show_it() -> None:
        with no_secret_on_a_command_line(SECRETS, {}):
            command = [sys.executable, "-c", SHOWS, str(late_s)]
            subprocess.run(command, input=SECRETS["minio_root"], text=True, check=True)

    with pytest.raises(AssertionError, match=r"minio_root: .*<minio_root>") as told:
        show_it()
    assert SECRETS["minio_root"] not in str(told.value)


def test_nothing_is_told_where_no_process_shows_one() -> None:
    with no_secret_on_a_command_line(SECRETS, {}) as looks:
        time.sleep(0.5)
    assert looks["the control node"] > 1
