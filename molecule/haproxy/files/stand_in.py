#!/usr/bin/python3
"""Stands in for a node of MinIO: says that it lives, who it is, and which PUTs it took.

stand_in.py ADDRESS PORT. A PUT /state/STATE changes how it answers from then on: `starting` says of its
health what a MinIO says that has not found its peers yet, `silent` closes the connection after a PUT without
an answer, `refusing` answers 503 before the body where the client waits for leave to send it, `held`
does not answer GET /held until it is in another state, `well` is as at the start.
"""

import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class StandIn(BaseHTTPRequestHandler):
    """Answers as a node does, without storing anything."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[list[str]] = []
    state: ClassVar[str] = "well"

    def do_GET(self) -> None:
        """Tell health, the PUTs that were taken, the Host that was asked for, or who this is."""
        if "Host" not in self.headers:
            self.answer("", status=HTTPStatus.BAD_REQUEST)
        elif self.path == "/minio/health/live":
            self.answer("", {"X-Minio-Server-Status": "offline"} if self.state == "starting" else {})
        elif self.path == "/taken":
            self.answer(" ".join(self.taken))
        elif self.path == "/host":
            self.answer(self.headers["Host"])
        else:
            while self.path == "/held" and self.state == "held":
                time.sleep(0.1)
            self.answer(socket.gethostname())

    def handle_expect_100(self) -> bool:
        """Give leave to send the body, or refuse it."""
        if self.state != "refusing":
            return super().handle_expect_100()
        self.close_connection = True
        self.answer("", {"Connection": "close"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return False

    def do_PUT(self) -> None:
        """Take all that is sent."""
        left = int(self.headers["Content-Length"])
        while left > 0 and (read := len(self.rfile.read(min(left, 1 << 20)))):
            left -= read
        if self.path.startswith("/state/"):
            StandIn.state = self.path.rpartition("/")[2]
        else:
            StandIn.taken.append(self.path)
            if self.state == "silent":
                self.close_connection = True
                return
        self.answer(socket.gethostname())

    def answer(
        self, text: str, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        """Answer with a short text."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(text))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


class Server(ThreadingHTTPServer):
    """Takes connections."""

    def handle_error(self, *_: object) -> None:
        """Say nothing of who asks for health and does not read the answer to its end."""


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), StandIn).serve_forever()
