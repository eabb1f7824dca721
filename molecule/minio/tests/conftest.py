import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from testinfra.host import Host

PORT = 9000
CONSOLE_PORT = 9001
Refused = Callable[..., str]


class Cluster:
    """The hosts of the scenario, and S3 clients for each of them."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.addresses = [str(host.ansible.get_variables()["ansible_host"]) for host in self.hosts]

    def secret(self, name: str) -> str:
        return (
            Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "secrets", f"minio_{name}").read_text().strip()
        )

    def client(self, user: str, node: int = 0) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self.client_with(user, self.secret(user), node)

    def client_with(self, access_key: str, secret_key: str, node: int = 0) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.addresses[node]}:{PORT}",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                retries={"max_attempts": 4, "mode": "standard"},
                s3={"addressing_style": "path"},
            ),
        )


@pytest.fixture(scope="session")
def cluster(hosts_of: Callable[[str], dict[str, Host]]) -> Cluster:
    return Cluster(list(hosts_of("minio").values()))


@pytest.fixture
def refused() -> Refused:
    """Call and return the code with which the server refuses."""

    def code(call: Callable[..., Any], **kwargs: object) -> str:
        with pytest.raises(ClientError) as refusal:
            call(**kwargs)
        return refusal.value.response["Error"]["Code"]

    return code
