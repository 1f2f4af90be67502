"""One reading of a path: no spelling of a resource gets past its endpoint."""

import re
from collections.abc import Callable
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gateway.limits import path as module
from gateway.limits.path import PathPolicy

POLICY = PathPolicy()
PLAIN_CHARACTERS = "ABCXYZabcxyz0189._~!$&'()*+,:=@-"


# The table, row by row.


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/orders", ("orders",)),
        ("/", ()),
        ("/v1/orders/7", ("v1", "orders", "7")),
        ("/.well-known/jwks.json", (".well-known", "jwks.json")),
        ("/a..b/c...d", ("a..b", "c...d")),
        ("/a+b/c:d@e,f=g", ("a+b", "c:d@e,f=g")),
        # Escapes of what needs none.
        ("/%6Frders", ("orders",)),
        ("/%6f%72%64%65%72%73", ("orders",)),
        ("/a%2Bb", ("a+b",)),
        ("/100%25", ("100%",)),
        ("/a%20b", ("a b",)),
        ("/caf%C3%A9", ("caf\u00e9",)),
        # Empty segments.
        ("//orders", ("orders",)),
        ("/orders/", ("orders",)),
        ("///v1//orders///", ("v1", "orders")),
        ("//", ()),
        # Case.
        ("/Orders", ("orders",)),
        ("/%4FRDERS", ("orders",)),
        ("/CAF%C3%89", ("caf\u00e9",)),
        # Characters that Unicode takes for plain ones.
        ("/%EF%BD%8Frders", ("orders",)),
        ("/%EF%BC%AFrders", ("orders",)),
        ("/o%EF%AC%81x", ("ofix",)),
        ("/%E2%84%AAeys", ("keys",)),
        ("/order%C5%BF", ("orders",)),
        # Characters that nobody sees.
        ("/ord%C2%ADers", ("orders",)),
        ("/%EF%BB%BForders%E2%80%8B", ("orders",)),
        ("/orders%E2%80%8D.", ("orders",)),
        ("/%E2%80%8B/orders", ("orders",)),
        # White space in front.
        ("/%20orders", ("orders",)),
        ("/%20%C2%A0orders/%E3%80%807", ("orders", "7")),
        ("/%20.well-known", (".well-known",)),
        ("/l%C4%B1st", ("list",)),
        ("/l%C4%B0st", ("list",)),
        # Parameters.
        ("/orders;v=1", ("orders",)),
        ("/orders;v=1/7;jsessionid=x;y", ("orders", "7")),
        ("/orders%3Bv=1", ("orders",)),
        ("/orders%EF%BC%9Bv=1", ("orders",)),
        ("/;v=1/orders", ("orders",)),
        # Dots and spaces behind a segment.
        ("/orders.", ("orders",)),
        ("/orders..", ("orders",)),
        ("/orders%20", ("orders",)),
        ("/orders%20.%20/7", ("orders", "7")),
        ("/orders%C2%A0", ("orders",)),
        ("/orders%E2%80%A8%E3%80%80%E1%9A%80", ("orders",)),
        ("/orders.;v=1", ("orders",)),
        # A query or a fragment for whoever decodes too early.
        ("/orders%3Fx=1", ("orders",)),
        ("/orders%23x", ("orders",)),
        ("/orders;v=1%3f", ("orders",)),
        ("/v1/%3F", ("v1",)),
        ("/orders%3F/", ("orders",)),
        # Left as it is.
        ("/orders.json", ("orders.json",)),
    ],
)
def test_what_is_normalised(path: str, segments: tuple[str, ...]) -> None:
    assert POLICY.segments(path) == segments


@pytest.mark.parametrize(
    "path",
    [
        # Nothing that starts with a slash.
        "",
        "orders",
        "*",
        "http://gw.test/orders",
        "?",
        # Dot segments.
        "/.",
        "/..",
        "/./orders",
        "/x/../orders",
        "/../orders",
        "/orders/.",
        "/x/%2e%2e/orders",
        "/x/%2E./orders",
        "/x/..;/orders",
        "/x/..;v=1/orders",
        "/x/..%3B/orders",
        "/.;/orders",
        "/x/..%3F",
        "/x/..%23y",
        "/x/%E2%80%A5/orders",
        "/x/%EF%BC%8E%EF%BC%8E/orders",
        # Only dots and spaces.
        "/x/.../orders",
        "/x/..%20/orders",
        "/x/%20/orders",
        "/x/.%E2%80%8B./orders",
        "/x/%C2%AD../orders",
        "/%252%E2%80%8B5",
        "/x/%20../orders",
        # A slash to some.
        "/v1%2Forders",
        "/orders%2f",
        "/v1%EF%BC%8Forders",
        "/v1%E2%84%80",
        "/v1\\orders",
        "/x\\..\\orders",
        "/v1%5Corders",
        "/v1%5corders",
        "/v1%EF%BC%BCorders",
        # Encoded twice.
        "/%252e%252e/orders",
        "/v1%252Forders",
        "/v1%255Corders",
        "/%256Frders",
        "/%25%36%46rders",
        "/%25u006Frders",
        "/%EF%BC%856Frders",
        "/x%2500",
        "/x%252525",
        # Control bytes.
        "/orders%00",
        "/orders%00.json",
        "/orders%0a",
        "/orders%0D%0ax",
        "/orders%09",
        "/orders%7F",
        "/orders%C2%85",
        "/orders\x00",
        "/orders\t",
        "/orders x",
        "/orders\r\n",
        "/orders\n",
        "/orders\x7f",
        # Not UTF-8.
        "/x/..%c0%aforders",
        "/%c0%ae%c0%ae/orders",
        "/%E0%80%AF",
        "/caf%E9",
        "/%ED%A0%80",
        "/%FF",
        "/caf\u00e9",
        "/orders\u2215",
        "/\udcff",
        # A broken escape.
        "/orders%",
        "/orders%4",
        "/orders%4x",
        "/l%u0069st",
        "/%%36f",
        "/%\uff14\uff11",
        # A fragment, or what is one to whoever decodes too early, with more behind it.
        "/orders#",
        "/orders#x",
        "/orders%3F/7",
        "/orders%23/7",
        "/orders%3f;v=1/7",
        "/orders%EF%BC%9F/7",
        # Too deep.
        "/x" * 257,
        "/" * 257 + "orders",
    ],
)
@pytest.mark.parametrize("case_sensitive", [False, True])
def test_what_is_refused(path: str, *, case_sensitive: bool) -> None:
    assert PathPolicy(case_sensitive=case_sensitive).segments(path) is None


def test_as_deep_as_it_may_be() -> None:
    assert POLICY.segments("/x" * 256) == ("x",) * 256
    assert POLICY.segments("/" * 256 + "x") == ("x",)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/Orders", ("Orders",)),
        ("/%4Frders", ("Orders",)),
        ("/%EF%BC%AFrders", ("Orders",)),
        ("/l%C4%B1st", ("l\u0131st",)),
        ("/Caf%C3%89", ("Caf\u00c9",)),
    ],
)
def test_case_counts_where_the_operator_says_so(path: str, segments: tuple[str, ...]) -> None:
    assert PathPolicy(case_sensitive=True).segments(path) == segments


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/v1%2Forders", ("v1/orders",)),
        ("/a%2fb/c", ("a/b", "c")),
        ("/%2F", ("/",)),
        ("/a%2F%2E%2E%2Fb", None),
        ("/a%2F..", None),
        ("/..%2Fa", None),
        ("/a%2F.;x/b", None),
        ("/a;x%2F..%2Fb", None),
        ("/a;x%2F..;y%2Fb", None),
        ("/a;%2F%2e%2e", None),
        ("/a;x%2Fb", ("a",)),
        ("/a%2F%20%2Fb", None),
        ("/a%5Cb", None),
        ("/a%252Fb", None),
    ],
)
def test_an_encoded_slash_may_pass_as_a_letter(path: str, segments: tuple[str, ...] | None) -> None:
    assert PathPolicy(encoded_slash="pass").segments(path) == segments


# The fast way and the slow way.


@given(
    st.lists(st.text(PLAIN_CHARACTERS + ".", max_size=8), min_size=1, max_size=6).map(
        lambda parts: "/" + "/".join(parts)
    ),
    st.booleans(),
)
def test_plain_paths_are_read_the_same_the_slow_way(path: str, case_sensitive: bool) -> None:
    policy = PathPolicy(case_sensitive=case_sensitive)
    event(f"plain: {module._PLAIN.fullmatch(path) is not None}")
    assert policy.segments(path) == policy._fold(path)


@given(st.text(st.characters(max_codepoint=0x180)).map("/".__add__))
def test_what_the_fast_way_takes_the_slow_way_takes_alike(path: str) -> None:
    assert POLICY.segments(path) == POLICY._fold(path)


@pytest.mark.parametrize("code", range(256))
def test_each_character_is_read_the_same_either_way(code: int) -> None:
    for path in (f"/{chr(code)}", f"/a{chr(code)}", f"/a{chr(code)}b/c"):
        assert POLICY.segments(path) == POLICY._fold(path)


# What comes out.


@given(st.text(st.sampled_from("/%.;\\?#25cCeEfF0 aA\u00e9\uff0f\u212a")).map("/".__add__))
def test_what_comes_out_is_canonical(path: str) -> None:
    """No segment is empty, a dot segment, or holds what could be read in two ways."""
    segments = POLICY.segments(path)
    for segment in segments or ():
        assert segment.strip(". ")
        assert segment == segment.rstrip(". ").lstrip(" ")
        assert not re.search(r"[/\\;?#\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}", segment)


@given(st.text())
def test_whatever_is_read_never_fails(path: str) -> None:
    for policy in (POLICY, PathPolicy(case_sensitive=True, encoded_slash="pass")):
        segments = policy.segments(path)
        assert segments is None or isinstance(segments, tuple)


def test_every_character_that_some_case_mapping_makes_ascii_is_taken_for_that() -> None:
    """Unicode has a few hundred of them beyond ASCII, and a template is written in ASCII only."""
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        for mapped in (character.upper(), character.lower(), character.casefold(), normalize("NFKC", character)):
            if mapped.isascii() and mapped.isalnum():
                assert POLICY._fold("/" + "".join(f"%{byte:02X}" for byte in character.encode())) == (mapped.lower(),)


# Spellings of one path.

LIMITED = ("v1", "limited")


def escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def overlong(character: str) -> str:
    """Two bytes where UTF-8 takes one: forbidden, and yet understood by some."""
    return f"%{0xC0 | ord(character) >> 6:02x}%{0x80 | ord(character) & 0x3F:02x}"


def spellings(character: str) -> st.SearchStrategy[str]:
    """Ways to write an ASCII character that some server or other reads as that character."""
    wide = chr(ord(character) + 0xFEE0)
    return st.sampled_from(
        [
            *[character] * 60,
            character.swapcase(),
            escape(character),
            escape(character).lower(),
            escape(character).replace("%", "%25"),
            "".join(map(escape, escape(character))),
            escape(escape(escape(character))),
            f"%u{ord(character):04x}",
            f"%25u{ord(character):04X}",
            escape(wide),
            escape(wide.swapcase()),
            wide,
            overlong(character),
            {"i": "%C4%B1", "k": "%E2%84%AA", "s": "%C5%BF"}.get(character, character),
        ]
    )


DETOURS = [
    *["/"] * 30, "//", "///", "/./", "/.//", "/x/../", "/%2e/", "/x/%2e%2E/", "/x/.%2e/", "/x/%252e%252e/", "/x/..;/",
    "/x/..;a=b/", "/.;/", "/;a=b/", "/%3Ba/", "/%2F/", "%2F", "%2f", "%252F", "%5C", "\\", "%5c..%5c", "/x\\..\\",
    "/x%2F..%2F", "%c0%af", "/x/%c0%ae%c0%ae/", "%EF%BC%8F", "%EF%BC%BC", "/%EF%BC%8E/", "/x/%E2%80%A5/", "/.%20/",
    "/%20/", "/%20", "/%C2%A0", "/%E2%80%8B", "/x/.%C2%AD./", "/x/..%00/", "/x/.../", "/x/%u002e%u002e/", "%u002f",
]  # fmt: skip
TAILS = [
    *[""] * 30, ";a=b", ";", "%3Bx", "%3bx", ".", "..", "...", "%20", "%20.", ".%20", "%C2%A0", "+", "%00",
    "%00.html", "%0a", "%0d%0a", "%09", "%3Fq", "%3fq/x", "%23f", "%23f/x", "#f", "%EF%BC%9Fq/x", "%EF%BC%9Bx", "%7F",
    "%C2%85", "%", "%E2%80%8D", "%EF%B8%8F", "%2500", "%253F", "%25", "%e2%80%a8",
]  # fmt: skip
ENDS = [*[""] * 15, "/", "//", "/.", "/;", "/./", "/x/..", "/x/..;/", "/%2e", "%2F", "/%20", "\\", "/%3F", "/%23x"]


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Ways to write `LIMITED`, good and bad, and paths close to it."""
    path = ""
    for segment in LIMITED:
        path += draw(st.sampled_from(DETOURS))
        path += "".join(draw(spellings(character)) for character in segment)
        path += draw(st.sampled_from(TAILS))
    return path + draw(st.sampled_from(ENDS))


@st.composite
def spelled_otherwise(draw: st.DrawFn) -> str:
    """Ways to write `LIMITED` that servers commonly take for it: all of them fold."""
    path = ""
    for segment in LIMITED:
        path += draw(st.sampled_from(["/", "//", "/;a=b/", "/%3Ba/", "/%20", "/%E2%80%8B"]))
        for character in segment:
            folding = [character, character.upper(), escape(character), escape(character).lower()]
            path += draw(st.sampled_from([*folding, escape(chr(ord(character) + 0xFEE0))]))
        path += draw(st.sampled_from(["", ";a=b", "%3bx", ".", "%20", ".%20"]))
    return path + draw(st.sampled_from(["", "/", "//", "/;", "%3Fq", "%23f"]))


@given(spelled_otherwise())
def test_common_spellings_of_a_path_are_that_path(path: str) -> None:
    assert POLICY.segments(path) == LIMITED


# Servers, as readers of paths.


def decode(path: str) -> str:
    return unquote_to_bytes(path.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def drop_parameters(path: str) -> str:
    return re.sub(r";[^/]*", "", path)


def read_percent_u(path: str) -> str:
    return re.sub(r"%u([0-9A-Fa-f]{4})", lambda form: chr(int(form[1], 16)), path)


def read_overlong(path: str) -> str:
    return re.sub(r"(?i)%c([01])%([89ab][0-9a-f])", lambda form: chr(int(form[1]) << 6 | int(form[2], 16) & 0x3F), path)


def drop_dots_and_spaces(path: str) -> str:
    return "/".join(part if part in {".", ".."} else part.rstrip(". ") for part in path.split("/"))


def trim_segments(path: str) -> str:
    return "/".join(map(str.strip, path.split("/")))


def leave_out_invisible(path: str) -> str:
    return re.sub("[\u00ad\u200b\u200d\ufe0f]", "", path)


HABITS: dict[str, Callable[[str], str]] = {
    "drops parameters as they came (Tomcat)": drop_parameters,
    "reads %u0041 (IIS)": read_percent_u,
    "reads overlong UTF-8 (old Tomcat, IIS)": read_overlong,
    "decodes": decode,
    "decodes again (behind a proxy that does not encode again)": decode,
    "reads %u0041 when it decodes again": read_percent_u,
    "takes compatible characters for one another": lambda path: normalize("NFKC", path),
    "leaves out what is invisible (HFS+)": leave_out_invisible,
    "drops parameters once decoded (Jetty)": drop_parameters,
    "ends at a NUL (whatever hands the path to C)": lambda path: path.partition("\0")[0],
    "ends at a decoded ? or # (nginx with $uri in proxy_pass)": lambda path: re.split("[?#]", path)[0],
    "trims": str.strip,
    "takes a backslash for a slash (IIS)": lambda path: path.replace("\\", "/"),
    "trims segments (Spring's AntPathMatcher)": trim_segments,
    "drops dots and spaces (Windows)": drop_dots_and_spaces,
    "compares in capitals": lambda path: path.upper().lower(),
}
"""What servers do to a path, in this order. Each server has some of these habits."""


def read(path: str, habits: set[str]) -> tuple[str, ...]:
    """The segments of a path as a server of these habits reads it; all fold slashes and resolve dot segments."""
    for habit, apply in HABITS.items():
        if habit in habits:
            path = apply(path)
    segments: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del segments[-1:]
        elif part not in {"", "."}:
            segments.append(part)
    return tuple(segments)


@settings(max_examples=1_000)
@given(paths(), st.sets(st.sampled_from(sorted(HABITS))).map({"decodes"}.union))
def test_no_server_reads_the_limited_path_where_we_read_another(path: str, habits: set[str]) -> None:
    """Whatever its habits are: what it serves as the limited resource, we have limited as that or refused."""
    if read(path, habits) == LIMITED:
        ours = POLICY.segments(path)
        event("refused" if ours is None else "limited")
        assert ours in {None, LIMITED}
