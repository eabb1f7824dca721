"""Where this package is installed, and its code: a job runs with the installation that it was submitted from.

A TaskManager's Python is shared by all its jobs and stays as it was first imported, while a job's plan
comes from wherever it was submitted. So the plan carries its installation, and a task compares it before it
touches any state.
"""

import hashlib
from pathlib import Path


class OtherInstallationError(RuntimeError):
    """A task came to a process with another installation than its job's."""


def installation_of(package: Path) -> str:
    """Name a package's installation: the folder that it really lies in, and a digest of its code.

    The folder tells third-party packages apart, as each set of them has an environment of its own.

    Args:
        package: folder of the package; links are followed.

    """
    folder = package.resolve()
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        for part in (file.relative_to(folder).as_posix().encode(), file.read_bytes()):
            digest.update(hashlib.sha256(part).digest())
    return f"{folder} ({digest.hexdigest()[:12]})"


# once, with the first import: what is installed later is not what this process runs
INSTALLATION = installation_of(Path(__file__).parent)


def check_installation(submitted_from: str) -> None:
    """Refuse to run a job of another installation.

    Args:
        submitted_from: INSTALLATION, as it was where the job was submitted.

    Raises:
        OtherInstallationError: which one the job is of, which one this process has, and what to do.

    """
    if submitted_from != INSTALLATION:
        raise OtherInstallationError(
            f"this job was submitted from {submitted_from}, but this TaskManager runs {INSTALLATION}. "
            "ansible-playbook playbooks/jobs.yml brings the job to what is installed now, with its state; "
            "if that is not what this TaskManager runs, playbooks/flink.yml restarts it first"
        )
