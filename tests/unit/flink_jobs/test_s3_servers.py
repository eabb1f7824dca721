"""A client of MinIO begins with a server that answers, and goes on with another when that one fails."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from flink_jobs.store import s3_servers
from flink_jobs.store.object_store import ObjectStoreError, read_object, s3_client, write_object
from flink_jobs.store.settings import S3

CONTENT = b"content" * 1000


class Server(ThreadingHTTPServer):
    """A node that has one object, and counts what it was asked for.

    Attributes:
        state: `well`; `silent`: takes connections and says nothing; `refuses` with 503; `hangs up` without an
            answer; `cuts short` the first object that it gives.

    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = "well"
        self.asked: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer(CONTENT)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def _answer(self, content: bytes) -> None:
        state = self.server.state
        self.server.asked.append(f"{self.command} {self.path}")
        if state == "silent":
            self.server.released.wait(30)
        if state in {"silent", "hangs up"}:
            self.close_connection = True
            return
        if self.path.startswith("/models/") and not self._is_signed():
            state = "refuses"
        if state == "cuts short":
            self.server.state, self.close_connection = "well", True
        self.send_response(503 if state == "refuses" else 200)
        content = b"" if state == "refuses" else content
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if state == "cuts short" else content)

    def _is_signed(self) -> bool:
        """Whether the signature is about this server's address, as MinIO verifies it."""
        given = self.headers["Authorization"]
        names = re.findall(r"SignedHeaders=([^,]+)", given)[0].split(";")
        request = AWSRequest(
            self.command,
            f"{self.server.url}{self.path}",
            headers={name: self.headers[name] for name in names if name != "host"},
        )
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        auth = S3SigV4Auth(Credentials("user", "password"), "s3", "us-east-1")
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return given.endswith(f"Signature={signature}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    monkeypatch.setattr(s3_servers, "ANSWER_TIMEOUT_S", 0.5)
    nodes = [Server() for _ in range(3)]
    for node in nodes:
        threading.Thread(target=node.serve_forever, daemon=True).start()
    yield nodes
    for node in nodes:
        node.released.set()
        node.shutdown()
        node.server_close()


def client_of(servers: list[Server]) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    urls = tuple(server.url for server in servers)
    return s3_client(S3(urls[0], "user", "password", endpoint_urls=urls))


def objects(server: Server) -> list[str]:
    return [asked for asked in server.asked if "/minio/" not in asked]


@pytest.mark.parametrize("state", ["silent", "refuses", "hangs up"])
def test_a_client_begins_with_a_server_that_answers(servers: list[Server], state: str) -> None:
    servers[0].state = state
    assert read_object(client_of(servers), "models", "key") == CONTENT
    assert [objects(server) for server in servers] == [[], ["GET /models/key"], []]


@pytest.mark.parametrize("state", ["refuses", "hangs up"])
def test_a_client_goes_on_with_another_server_and_stays_with_it(servers: list[Server], state: str) -> None:
    client = client_of(servers)
    write_object(client, "models", "first", b"1")
    servers[0].state = state
    write_object(client, "models", "second", b"2")
    servers[0].state = "well"
    assert read_object(client, "models", "third") == CONTENT
    assert objects(servers[0]) == ["PUT /models/first", "PUT /models/second"]
    assert objects(servers[1]) == ["PUT /models/second", "GET /models/third"]
    servers[1].state = servers[2].state = state
    write_object(client, "models", "fourth", b"4")
    assert objects(servers[0])[2:] == ["PUT /models/fourth"]


def test_what_all_servers_fail_is_an_error(servers: list[Server]) -> None:
    for server in servers:
        server.state = "refuses"
    with pytest.raises(ObjectStoreError, match=r"cannot write s3://models/key"):
        write_object(client_of(servers), "models", "key", b"1")
    assert all(objects(server) for server in servers)


@pytest.mark.parametrize("count", [1, 3])
def test_an_object_of_which_a_part_came_is_read_again(servers: list[Server], count: int) -> None:
    client = client_of(servers[:count])
    servers[0].state = "cuts short"
    assert read_object(client, "models", "key") == CONTENT


def test_the_only_server_is_not_asked_whether_it_lives(servers: list[Server]) -> None:
    """On hosts it is HAProxy, which asks by itself."""
    former = s3_client(S3(servers[0].url, "user", "password"))
    assert read_object(former, "models", "key") == read_object(client_of(servers[:1]), "models", "key")
    assert servers[0].asked == 2 * ["GET /models/key"]


def test_servers_that_take_no_connection_come_last(servers: list[Server]) -> None:
    urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", servers[0].url, servers[1].url]
    assert s3_servers.from_first_answering(urls) == [*urls[2:], *urls[:2]]
    assert s3_servers.from_first_answering(urls[:2]) == urls[:2]
    assert s3_servers.from_first_answering(urls[:1]) == urls[:1]
    assert servers[1].asked == []
