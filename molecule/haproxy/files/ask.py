#!/usr/bin/python3
"""Asks as a client of S3 would: ask.py URL COUNT METHOD PATH [BYTES].

Prints a line for each request: the status, the seconds that it took, and the answer.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

url, count, method, path, *size = sys.argv[1:]
body = b"x" * int(size[0]) if size else b"" if method == "PUT" else None
for _ in range(int(count)):
    started = time.monotonic()
    # less than HAProxy's own limit; a request may be held for as long as a play takes
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=290)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        told = f"{answer.status} {{}} {answer.read().decode().splitlines()[0:1]}"
    except (OSError, http.client.HTTPException) as error:
        told = f"{type(error).__name__} {{}} []"
    print(told.format(round(time.monotonic() - started, 2)))
    connection.close()
    time.sleep(0.05)
