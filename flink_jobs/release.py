"""The release of this package that a process runs: a job stays with the one that it was submitted from.

A TaskManager's Python is shared by all its jobs and stays as it was first imported, while a job's plan
comes from wherever it was submitted. So the plan carries the release, and a task compares it before it
touches any state.
"""

import hashlib
from pathlib import Path


class ReleaseError(RuntimeError):
    """A task came to a process with another release than its job's."""


def release_of(package: Path) -> str:
    """Name a package's release: the folder that it really lies in, and a digest of its code.

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
RELEASE = release_of(Path(__file__).parent)


def check_release(submitted_from: str) -> None:
    """Refuse to run a job of another release.

    Args:
        submitted_from: RELEASE, as it was where the job was submitted.

    Raises:
        ReleaseError: which release the job is of, which one this process has, and what to do.

    """
    if submitted_from != RELEASE:
        raise ReleaseError(
            f"this job was submitted from {submitted_from}, but this TaskManager runs {RELEASE}. "
            "ansible-playbook playbooks/jobs.yml brings the job to the installed release, with its state; "
            "if that is not this TaskManager's, run playbooks/flink.yml first, which restarts it"
        )
