#!/usr/bin/python3
"""Asks for leave to send an object, then for something else by the same client, as S3's clients do.

put_and_get.py URL. Prints the status of both answers.
"""

import http.client
import sys
from urllib.parse import urlsplit

connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc, timeout=10)
connection.putrequest("PUT", "/object")
connection.putheader("Content-Length", "1000")
connection.putheader("Expect", "100-continue")
connection.endheaders()
answer = connection.getresponse()
answer.read()
# it connects again where it was told that the connection ends
connection.request("GET", "/who")
print(answer.status, connection.getresponse().status)
