"""Cases of ours about spellings of a limited path, and about who is asking."""

from collections.abc import Iterator

from tests.hostile.case import Case
from tests.hostile.own import REFUSED, get, passed

_LIMITED = passed(bucket="limited")
_TOLD = passed(client_key="peer address")


def paths() -> Iterator[Case]:
    """Spellings of ``/limited``, all of which are charged to it, or refused."""
    for name, target in {
        "slash-end": b"/limited/",
        "slashes": b"//limited//",
        "dot": b"/./limited",
        "dot-end": b"/limited/.",
        "caps": b"/LIMITED",
        "dot-dot-end": b"/limited/x/..",
        "pct-dot": b"/%2e/limited",
        "pct-dot-upper": b"/%2E%2E/limited",
        "pct-l": b"/%6Cimited",
        "pct-twice": b"/%256cimited",
        "pct-slash": b"/x%2f..%2flimited",
        "pct-slash-first": b"/%2flimited",
        "backslash": b"\\limited",
        "pct-backslash": b"/x%5c..%5climited",
        "semi-dot": b"/.;/limited",
        "semi-first": b"/;x/limited",
        "semi-mid": b"/;/limited",
        "semi-pct": b"/limited%3bx",
        "pct-question": b"/limited%3fx",
        "pct-nul": b"/limited%00",
        "pct-nul-ext": b"/limited%00.css",
        "pct-cr": b"/limited%0d",
        "pct-tab": b"/limited%09",
        "dots-end": b"/limited.",
        "spaces-end": b"/limited%20%20",
        "fullwidth": b"/%ef%bd%8cimited",
        "ligature": b"/%e2%85%bcimited",
        "overlong-dot": b"/%c0%ae%c0%ae/limited",
        "overlong-l": b"/%c1%acimited",
        "utf7": b"/+AGw-imited/%2e%2e/limited",
        "u-escape": b"/%u006cimited",
        "pct-pct": b"/%%6cimited",
        "half-pct": b"/limited%2",
        "absolute": b"http://gw.test/limited",
        "absolute-caps": b"HTTP://GW.TEST/Limited",
        "absolute-dots": b"http://gw.test/x/../limited",
        "absolute-port": b"http://gw.test:80/limited",
        "query": b"/limited?x",
        "query-slash": b"/limited?/../ok",
        "absolute-query": b"http://gw.test/limited?a=b",
        "below": b"/limited/deep/er",
        "matrix": b"/limited;a=1;b=2/x",
        "semi-empty": b"/limited;",
        "turkish": b"/l%c4%b0m%c4%b0ted",
        "dotless": b"/l%c4%b1mited",
        "space-first": b"/%20limited",
        "no-break-space-first": b"/%c2%a0limited",
        "soft-hyphen": b"/limi%c2%adted",
        "zero-width": b"/%e2%80%8blimited%e2%80%8d",
        "zero-width-dots": b"/x/.%e2%80%8b./limited",
        "ellipsis": b"/x/%e2%80%a6/limited",
    }.items():
        yield Case(f"own-path-{name}", get(target), (_LIMITED, REFUSED))
    for name, target in {
        "other": b"/limitedx",
        "prefix": b"/x/limited",
        "query-only": b"/ok?/limited",
        "encoded-query": b"/ok?%2flimited",
    }.items():
        yield Case(f"own-path-{name}", get(target), (passed(bucket="default"),))


def callers() -> Iterator[Case]:
    """What a stranger says of itself, none of which changes whom it is charged to."""
    for name, fields in {
        "user": b"X-User-Id: alice",
        "user-twice": b"X-User-Id: a\r\nX-User-Id: b",
        "tier": b"X-User-Tier: gold",
        "user-caps": b"X-USER-ID: alice",
        "user-underscore": b"X_User_Id: alice",
        "user-mixed": b"X-User_Id: alice",
        "xff": b"X-Forwarded-For: 203.0.113.1",
        "xff-twice": b"X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 203.0.113.2",
        "xff-mapped": b"X-Forwarded-For: ::ffff:203.0.113.1",
        "xff-empty": b"X-Forwarded-For:",
        "xff-commas": b"X-Forwarded-For: ,,,",
        "xff-caps": b"x-FORWARDED-for: 203.0.113.1",
        "forwarded": b"Forwarded: for=203.0.113.1;by=x;host=evil;proto=https",
        "forwarded-v6": b'Forwarded: for="[2001:db8::1]:1"',
        "real": b"X-Real-IP: 203.0.113.1",
        "client": b"Client-IP: 203.0.113.1",
        "cf": b"CF-Connecting-IP: 203.0.113.1",
        "x-client": b"X-Client-IP: 203.0.113.1",
        "proto": b"X-Forwarded-Proto: https",
        "fhost": b"X-Forwarded-Host: evil.test",
        "fport": b"X-Forwarded-Port: 22",
        "fprefix": b"X-Forwarded-Prefix: /x",
        "hop-xff": b"Connection: X-Forwarded-For",
        "hop-user": b"Connection: X-User-Id, close",
        "hop-auth": b"Connection: Authorization",
        "hop-host": b"Connection: Host",
        "request-id": b"X-Request-ID: ../../etc",
        "remote-user": b"X-Remote-User: root",
    }.items():
        yield Case(f"own-caller-{name}", get(b"/limited", fields), (_TOLD,))
    for field in (b"X-Original-URL", b"X-Rewrite-URL", b"X-Original-Host", b"X-Forwarded-Uri"):
        raw = get(b"/ok", field + b": /limited")
        yield Case(f"own-url-{field.decode().lower()}", raw, (passed(forbid_upstream_header=field.decode()),))
    for field in (
        b"Remote-User",
        b"X-Forwarded-Email",
        b"X-Forwarded-Client-Cert",
        b"X-Auth-Request-User",
        b"SSL-Client-Verify",
        b"X-Envoy-External-Address",
        b"Tailscale-User-Login",
        b"X-MS-CLIENT-PRINCIPAL",
        b"X.Forwarded.User",
    ):
        raw = get(b"/ok", field + b": alice")
        yield Case(f"own-proxy-{field.decode().lower()}", raw, (passed(forbid_upstream_header=field.decode()),))
    for field in (
        b"TE: trailers",
        b"Keep-Alive: timeout=9",
        b"Proxy-Connection: x",
        b"Upgrade: h2c",
        b"Trailer: X",
        b"X_Y: z",
    ):
        raw = get(b"/ok", field)
        yield Case(
            f"own-hop-{field.split(b':')[0].decode().lower()}",
            raw,
            (passed(forbid_upstream_header=field.split(b":")[0].decode()),),
        )
