"""Path templates: what can be written, and what it comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.path import PathPolicy

WRITABLE = "ABCXYZabcxyz0189._~!$&'()*+,:=@-"
LIKE_A_PATTERN = set("$*:(+")


@pytest.mark.parametrize(
    ("text", "segments", "open_ended"),
    [
        ("/", (), False),
        ("/orders", ("orders",), False),
        ("/v1/orders/{id}", ("v1", "orders", None), False),
        ("/v1/orders/{id}/items/{item_2}", ("v1", "orders", None, "items", None), False),
        ("/{_x}", (None,), False),
        ("/files/{rest...}", ("files",), True),
        ("/{user}/{rest...}", (None,), True),
        ("/{rest...}", (), True),
        ("/.well-known/jwks.json", (".well-known", "jwks.json"), False),
        ("/a:b@c,d=e", ("a:b@c,d=e",), False),
        ("/Orders", ("Orders",), False),
    ],
)
def test_good_templates(text: str, segments: tuple[str | None, ...], *, open_ended: bool) -> None:
    template = Template.parse(text)
    assert (template.text, template.segments, template.open_ended) == (text, segments, open_ended)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with /"),
        ("orders", "starts with /"),
        ("*", "starts with /"),
        ("//", "a segment is empty"),
        ("//orders", "a segment is empty"),
        ("/orders/", "a segment is empty"),
        ("/a//b", "a segment is empty"),
        ("/{id}/{id}", "occurs twice"),
        ("/{id}/{id...}", "occurs twice"),
        ("/{rest...}/a", "must be the last"),
        ("/{rest...}/{id}", "must be the last"),
        ("/order-{id}", "a parameter is a whole segment"),
        ("/{id}.json", "a parameter is a whole segment"),
        ("/{}", "a parameter is a whole segment"),
        ("/{1}", "a parameter is a whole segment"),
        ("/{a-b}", "a parameter is a whole segment"),
        ("/{a....}", "a parameter is a whole segment"),
        ("/{\u00e9}", "a parameter is a whole segment"),
        ("/{id", "a parameter is a whole segment"),
        ("/id}", "a parameter is a whole segment"),
        ("/%41", "without % escapes"),
        ("/a b", "letters, digits"),
        ("/caf\u00e9", "letters, digits"),
        ("/a\n", "letters, digits"),
        ("/a;b", "letters, digits"),
        ("/a?b", "letters, digits"),
        ("/a#b", "letters, digits"),
        ("/a\\b", "letters, digits"),
        ("/a/.", "dots at the end"),
        ("/a/../b", "dots at the end"),
        ("/Inc.", "dots at the end"),
        ("/%2E%2E", "without % escapes"),
        ("/v1/*", "looks like a pattern.*%2A"),
        ("/v1/**", "looks like a pattern"),
        ("/a*b", "looks like a pattern"),
        ("/:id", "looks like a pattern.*%3A"),
        ("/order-:id", "looks like a pattern"),
        ("/$id", "looks like a pattern.*%24"),
        ("/orders$", "looks like a pattern"),
        ("/(id)", "looks like a pattern.*%28"),
        ("/@(a)", "looks like a pattern"),
        ("/.+", "looks like a pattern.*%2B"),
    ],
)
def test_bad_templates(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Template.parse(text)


@given(
    st.lists(st.text(WRITABLE, min_size=1, max_size=8), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))
)
def test_a_template_of_literals_matches_the_path_that_reads_the_same(text: str) -> None:
    """What can be written as a template can be matched: its literals are canonical, see `PathPolicy`."""
    try:
        template = Template.parse(text)
    except ValueError:
        assert any(part.endswith(".") or LIKE_A_PATTERN & set(part) for part in text.split("/"))
    else:
        assert PathPolicy(case_sensitive=True).segments(text) == template.segments


@given(
    st.lists(st.text(WRITABLE, min_size=1, max_size=8), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))
)
def test_every_canonical_path_can_be_written_with_escapes(text: str) -> None:
    """Where a character would look like another product's pattern, its %-escape stands for it."""
    escaped = "".join(f"%{ord(sign):02x}" if sign in LIKE_A_PATTERN else sign for sign in text)
    try:
        template = Template.parse(escaped)
    except ValueError:
        assert any(part.endswith(".") for part in text.split("/"))
    else:
        assert PathPolicy(case_sensitive=True).segments(text) == template.segments


def test_the_default_endpoint_has_no_template_and_costs_one() -> None:
    assert Endpoint(DEFAULT) == Endpoint(DEFAULT, None, frozenset(), None, (), (), DEFAULT, 1)
