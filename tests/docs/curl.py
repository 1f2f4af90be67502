"""What the pages ask of curl, for a machine that has none.

    python -m tests.docs.curl -s -o /dev/null -w '%{http_code}\\n' -H 'X-User-Id: ana' http://127.0.0.1:8080/

An option that is not here is an error, and a reason to add it.
"""

import argparse
import sys
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    parser.add_argument("-s", action="store_true", help="no progress; there is none anyway")
    parser.add_argument("-i", action="store_true", help="the head of the answer first")
    parser.add_argument("-o", type=Path, metavar="FILE")
    parser.add_argument("-w", default="", metavar="FORMAT", help="printed at the end")
    parser.add_argument("-X", metavar="METHOD")
    parser.add_argument("-H", action="append", default=[], metavar="HEADER")
    parser.add_argument("-d", metavar="DATA")
    parser.add_argument("url")
    options = parser.parse_args(arguments)

    url = urlsplit(options.url)
    assert url.scheme == "http"
    headers = {"Accept": "*/*"} | ({} if options.d is None else {"Content-Type": "application/x-www-form-urlencoded"})
    headers |= {name: value.strip() for name, _, value in (header.partition(":") for header in options.H)}
    connection = HTTPConnection(url.netloc, timeout=60)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.request(options.X or ("GET" if options.d is None else "POST"), target, options.d, headers)
    answer = connection.getresponse()

    head = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in answer.getheaders())]
    said = "".join(f"{line}\r\n" for line in [*head, ""]).encode() if options.i else b""
    said += answer.read()
    if options.o:
        options.o.write_bytes(said)
    else:
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
    sys.stdout.write(options.w.replace("%{http_code}", str(answer.status)).replace("\\n", "\n"))


if __name__ == "__main__":
    main()
