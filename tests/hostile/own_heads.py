"""Cases of ours about request lines, field lines and Host."""

from collections.abc import Iterator

from tests.hostile.case import Case
from tests.hostile.own import CANARY, PASSED, REFUSED, get


def lines() -> Iterator[Case]:
    """Request lines and field lines that are not what they should be."""
    for name, line in {
        "empty-method": b" /ok HTTP/1.1",
        "tab": b"GET\t/ok HTTP/1.1",
        "tab-version": b"GET /ok\tHTTP/1.1",
        "vtab": b"GET\x0b/ok HTTP/1.1",
        "no-space": b"GET/ok HTTP/1.1",
        "no-target": b"GET  HTTP/1.1",
        "nul-target": b"GET /o\x00k HTTP/1.1",
        "del-target": b"GET /o\x7fk HTTP/1.1",
        "lf-target": b"GET /o\nk HTTP/1.1",
        "space-target": b"GET /o k HTTP/1.1",
        "utf8-query": b"GET /ok?\xc3\xa9 HTTP/1.1",
        "latin": b"GET /\xe9 HTTP/1.1",
        "fragment-query": b"GET /ok?a#b HTTP/1.1",
        "version-0": b"GET /ok HTTP/0.9",
        "version-12": b"GET /ok HTTP/1.2",
        "version-2": b"GET /ok HTTP/2",
        "version-20": b"GET /ok HTTP/2.0",
        "version-01": b"GET /ok HTTP/01.1",
        "version-11x": b"GET /ok HTTP/1.1x",
        "version-comma": b"GET /ok HTTP/1,1",
        "version-space": b"GET /ok HTTP /1.1",
        "version-plus": b"GET /ok HTTP/+1.1",
        "version-none": b"GET /ok HTTP/",
        "version-s": b"GET /ok HTTPS/1.1",
        "version-wide": b"GET /ok HTTP/1.\xef\xbc\x91",
        "method-cr": b"GE\rT /ok HTTP/1.1",
        "method-nul": b"G\x00T /ok HTTP/1.1",
        "method-high": b"G\xc3\x89T /ok HTTP/1.1",
        "method-colon": b"GET: /ok HTTP/1.1",
        "method-mixed": b"Get /ok HTTP/1.1",
        "pri": b"PRI * HTTP/2.0",
        "trace": b"TRACE / HTTP/1.1",
        "connect": b"CONNECT gw.test:80 HTTP/1.1",
        "connect-path": b"CONNECT /ok HTTP/1.1",
        "star-get": b"GET * HTTP/1.1",
        "star-options": b"OPTIONS * HTTP/1.1",
        "relative": b"GET ok HTTP/1.1",
        "dots": b"GET ../ok HTTP/1.1",
        "scheme-only": b"GET http: HTTP/1.1",
        "scheme-nohost": b"GET http:///ok HTTP/1.1",
        "scheme-user": b"GET http://a@gw.test/ok HTTP/1.1",
        "scheme-ws": b"GET ws://gw.test/ok HTTP/1.1",
        "scheme-js": b"GET javascript:alert(1) HTTP/1.1",
        "scheme-port": b"GET http://gw.test:99999/ok HTTP/1.1",
        "scheme-backslash": b"GET http:\\\\gw.test/ok HTTP/1.1",
        "scheme-space": b"GET http://gw.test /ok HTTP/1.1",
        "scheme-bracket": b"GET http://[::1/ok HTTP/1.1",
        "long-target": b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        "long-version": b"GET /ok HTTP/1." + b"1" * 9_000,
    }.items():
        yield Case(f"own-line-{name}", line + b"\r\nHost: gw.test\r\n\r\n" + CANARY, (REFUSED,))
    for name, field in {
        "no-colon": b"X",
        "empty-name": b": x",
        "space-name": b"X Y: z",
        "space-before": b"X : y",
        "nul": b"X: a\x00b",
        "cr": b"X: a\rb",
        "cr-end": b"X: a\r",
        "lf": b"X: a\nb",
        "high-name": b"X\xc3\xa9: y",
        "at": b"X@Y: z",
        "braces": b"X{}: y",
        "slash": b"X/Y: z",
        "quote": b'X"Y: z',
        "equals": b"X=Y: z",
        "comma": b"X,Y: z",
        "del": b"X: \x7f",
        "esc": b"X: \x1b[31m",
        "bell": b"X: \x07",
        "backspace": b"X: \x08",
        "fold-tab": b"X: a\r\n\tb",
        "fold-empty": b"X: a\r\n \r\nY: z",
        "host-twice": b"host: gw.test",
        "host-twice-other": b"HOST: evil.test",
        "semicolon": b"X;Y: z",
        "bracket": b"X[]: z",
        "name-nul": b"X\x00Y: z",
        "name-long": b"X" * 70_000 + b": y",
    }.items():
        # A control byte in a value that is no line end may also be passed on, if both sides read it alike.
        yield Case(f"own-field-{name}", get(b"/ok", field) + CANARY, (REFUSED,))
    for name, raw in {
        "crlf-first": b"\r\n" + get(),
        "crlf-thrice": b"\r\n\r\n\r\n" + get(),
        "lf-first": b"\n" + get(),
        "cr-first": b"\r" + get(),
    }.items():
        yield Case(f"own-{name}", raw, (PASSED, REFUSED))
    for name, raw in {
        "space-first": b" " + get(),
        "nul-first": b"\x00" + get(),
        "bom": b"\xef\xbb\xbf" + get(),
        "head-space": get()[:-2] + b" \r\n\r\n",
        "head-cr-lf-cr": get()[:-2] + b"\r\r\n",
        "lf-only": get().replace(b"\r", b""),
        "no-host": b"GET /ok HTTP/1.1\r\n\r\n",
        "host-empty-dup": b"GET /ok HTTP/1.1\r\nHost:\r\nHost: gw.test\r\n\r\n",
        "proxy-v1": b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" + get(),
        "tls-hello": b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "sip": b"INVITE sip:a@b SIP/2.0\r\n\r\n",
        "redis": b"*1\r\n$4\r\nPING\r\n",
        "answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    }.items():
        yield Case(f"own-{name}", raw, (REFUSED,))

    # llhttp takes these names for HTTP's; the upstream is sent HTTP/1.1 all the same.
    yield Case("own-rtsp", b"OPTIONS / RTSP/1.0\r\nHost: gw.test\r\n\r\n", (PASSED, REFUSED))
    yield Case("own-rtsp-method", b"DESCRIBE / RTSP/1.0\r\nHost: gw.test\r\n\r\n", (REFUSED,))
    yield Case("own-ice", b"SOURCE / ICE/1.0\r\nHost: gw.test\r\n\r\n", (REFUSED,))


def hosts() -> Iterator[Case]:
    """What a Host field may hold."""
    for name, value in {
        "userinfo": b"a@gw.test",
        "comma": b"gw.test,evil.test",
        "slash": b"gw.test/",
        "backslash": b"gw.test\\x",
        "hash": b"gw.test#x",
        "percent": b"gw%2etest",
        "utf8": b"\xc3\xa9.test",
        "nul": b"gw\x00test",
        "port-minus": b"gw:-1",
        "port-word": b"gw:http",
        "port-wide": b"gw:\xef\xbc\x98",
        "bracket": b"[::1",
        "v6-colons": b"[:::1]",
        "v6-v4": b"[192.0.2.1]",
        "v6-dots": b"[....]",
        "v6-long": b"[0:0:0:0:0:0:0:0:1]",
        "zone": b"[fe80::1%25eth0]",
        "only-port": b":80",
        "scheme": b"http://gw.test",
        "less": b"<gw.test>",
        "space": b"gw test",
        "dots-only": b"..",
        "long": b"a" * 256,
        "cr": b"gw.test\rX: y",
    }.items():
        yield Case(f"own-host-{name}", b"GET /ok HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", (REFUSED,))
    for name, value in {
        "v6": b"[::1]:80",
        "v4": b"127.0.0.1",
        "dot": b"gw.test.",
        "upper": b"GW.TEST",
        "colon": b"gw.test:",
    }.items():
        yield Case(f"own-host-{name}", b"GET /ok HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", (PASSED,))
