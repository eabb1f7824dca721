"""Which of MinIO's servers a client asks, and which one next."""

# ruff: noqa: ANN401 - boto3 makes its classes at run time

import http.client
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

ANSWER_TIMEOUT_S = 2.0
_FIRST_SERVER_ERROR = 500


def from_first_answering(urls: Sequence[str]) -> list[str]:
    """Turn the row of servers so that it begins with one that answers; one that is alone is not asked."""
    first = next((at for at, url in enumerate(urls) if _answers(url)), 0) if len(urls) > 1 else 0
    return [*urls[first:], *urls[:first]]


def _answers(url: str) -> bool:
    server = urlsplit(url)
    connection = http.client.HTTPConnection(server.hostname or "", server.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/minio/health/live")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def go_round(client: Any, urls: Sequence[str]) -> None:
    """Let the client ask the next of these servers after one that failed, the same request or a later one.

    What it repeats is what it would repeat at a single server.
    """
    at = 0

    def address(request: Any, **_: object) -> None:
        request.context["server"], server = at, urlsplit(urls[at])
        request.url = urlsplit(request.url)._replace(scheme=server.scheme, netloc=server.netloc).geturl()

    def judge(response: tuple[Any, Any] | None, request_dict: dict[str, Any], **_: object) -> None:
        nonlocal at
        failed = response is None or response[0].status_code >= _FIRST_SERVER_ERROR
        # another thread may have gone on already
        if failed and request_dict["context"]["server"] == at:
            at = (at + 1) % len(urls)

    # before a request is signed, as the signature is about the server's address too
    client.meta.events.register_first("request-created.s3", address)
    client.meta.events.register("needs-retry.s3", judge)
