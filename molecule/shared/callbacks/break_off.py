"""Ends a run after a number of changes, as closing the laptop would: nothing is tidied up."""

from __future__ import annotations

import os
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
  name: break_off
  type: aggregate
  short_description: End ansible-playbook after the n-th change on any host
  description: n is in the environment variable BREAK_OFF_AFTER.
"""
STATUS = 97


class CallbackModule(CallbackBase):  # type: ignore[misc] - Ansible is not typed
    """Count what changed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "break_off"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.left = int(os.environ["BREAK_OFF_AFTER"])

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ANN401 - Ansible is not typed
        """End the process at the last change that it may make."""
        self.left -= bool(result.result.get("changed"))
        if self.left == 0:
            sys.stdout.write(f"broken off after: {result.task.get_name()} on {result.host.get_name()}\n")
            sys.stdout.flush()
            os._exit(STATUS)
