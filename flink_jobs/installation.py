"""The package's installation, its folder and code: a job runs only with the one that submitted it.

All jobs of a TaskManager share one Python, which keeps the code that it imported first; a job's plan may
come from another installation. So the plan names its installation, and a task compares it with its own
before it touches any state.
"""

import hashlib
from pathlib import Path


class OtherInstallationError(RuntimeError):
    """A task runs in a process with another installation than its job's."""


def installation_of(package: Path) -> str:
    """Name a package's installation: its real folder, and a digest of its code.

    The folder stands for the third-party packages: each set of them has an environment of its own.

    Args:
        package: folder of the package; links are followed.

    """
    folder = package.resolve()
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        for part in (file.relative_to(folder).as_posix().encode(), file.read_bytes()):
            digest.update(hashlib.sha256(part).digest())
    return f"{folder} ({digest.hexdigest()[:12]})"


# at import: this process never runs code that is installed later
INSTALLATION = installation_of(Path(__file__).parent)


def check_installation(submitted_from: str) -> None:
    """Refuse to run a job of another installation.

    Args:
        submitted_from: INSTALLATION, as it was where the job was submitted.

    Raises:
        OtherInstallationError: names the job's installation, this process's, and what to do.

    """
    if submitted_from != INSTALLATION:
        raise OtherInstallationError(
            f"this job was submitted from {submitted_from}, but this TaskManager runs {INSTALLATION}. "
            "ansible-playbook playbooks/jobs.yml submits the job from the current installation, with its "
            "state; if this TaskManager runs an older one, playbooks/flink.yml restarts it first"
        )
