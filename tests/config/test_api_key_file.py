"""Files of API keys: records, mistakes, and a hundred thousand of them."""

import json
import time
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.config.api_key_file import parse_api_keys
from gateway.config.diagnostic import ConfigError
from gateway.limits.identity_source import Claim

FILE = Path("keys.jsonl")
A, B = (sha256(each).hexdigest() for each in (b"a", b"b"))


def parse(*lines: object) -> dict[str, Claim]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return parse_api_keys(FILE, text.encode(), ["org"], lambda: None)


def test_each_line_is_a_key() -> None:
    found = parse({"sha256": A, "user": "ana", "tier": "gold"}, "", {"sha256": B, "user": "böb"}, "  ")
    assert found == {A: Claim("ana", "gold"), B: Claim("böb")}
    assert parse() == {}
    found = parse(*({"sha256": digest, "user": "ana", "attributes": {"org": "acme"}} for digest in (A, B)))
    assert found == {digest: Claim("ana", None, {"org": "acme"}) for digest in (A, B)}
    assert found[A].attributes is found[B].attributes
    assert parse({"sha256": A, "user": "ana", "attributes": {"org": 7}})[A].attributes == {"org": "7"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hunter2", "not JSON"),
        ("[]", "a line is a JSON object"),
        ({"sha256": A, "user": "ana", "key": "hunter2"}, "another member than sha256, user, tier and attributes"),
        ({"user": "ana"}, "sha256 is not a SHA-256"),
        ({"sha256": A.upper(), "user": "ana"}, "sha256 is not a SHA-256 in 64 lower-case hex digits"),
        ({"sha256": "hunter2", "user": "ana"}, "make a record with: gateway keys hash"),
        ({"sha256": 7, "user": "ana"}, "sha256 is not"),
        ({"sha256": A}, "user is not a text, or is empty"),
        ({"sha256": A, "user": 7}, "user is not a text"),
        ({"sha256": A, "user": " ana"}, "spaces around it"),
        ({"sha256": A, "user": "a\nb"}, "control characters"),
        ({"sha256": A, "user": "a" * 1025}, "longer than 1024 characters"),
        ({"sha256": A, "user": "ana", "tier": ""}, "tier is not a text, or is empty"),
        ({"sha256": A, "user": "ana", "attributes": []}, "attributes is not a JSON object"),
        (
            {"sha256": A, "user": "ana", "attributes": {"orgg": "a"}},
            "an attribute is not one of 'attributes' in the settings, which are: org",
        ),
        ({"sha256": A, "user": "ana", "attributes": {"org": True}}, "org is not a text"),
        ({"sha256": B, "user": "ana"}, "this key is in the file already"),
        ('{"user": "a", "user": "b"}', "two members of the same name"),
        ({"sha256": A, "user": "a" * 20_000}, "the line is longer than 16384 bytes"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_without_the_key(line: object, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse({"sha256": B, "user": "bob"}, line)
    (problem,) = error.value.problems
    assert str(problem).startswith("keys.jsonl:2:1: ")
    assert why in str(problem)
    assert "hunter2" not in str(problem)


def test_all_mistakes_are_told_up_to_twenty() -> None:
    with pytest.raises(ConfigError) as error:
        parse(*["x"] * 100)
    assert len(error.value.problems) == 20


def test_a_hundred_thousand_are_read_in_about_a_second_with_pauses_on_the_way() -> None:
    text = "".join(
        f'{{"sha256": "{number:064x}", "user": "customer-{number}", "tier": "gold"}}\n' for number in range(100_000)
    )
    pauses: list[int] = []
    before = time.process_time()
    assert len(parse_api_keys(FILE, text.encode(), ["org"], lambda: pauses.append(1))) == 100_000
    assert time.process_time() - before < 5, "about 0.7 s on two idle cores"
    assert len(pauses) > 500
