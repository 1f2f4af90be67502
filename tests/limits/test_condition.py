"""What a condition reads of a request, and what it does not read because servers disagree on it."""

from collections.abc import Callable
from time import process_time
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.condition import HEADER, QUERY, Condition, GivenFields, read
from gateway.limits.unmatched import Unmatched
from tests.fuzzing import examples

REJECTED = Unmatched.CONDITION


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("a=1&b=2", None),
        ("&&", None),
        ("=csv", None),
        ("format=csv", "csv"),
        ("&format=csv&", "csv"),
        ("format", ""),
        ("format=", ""),
        ("format=a=b", "a=b"),
        ("f%6Frmat=%63sv", "csv"),
        ("format=a+b", "a b"),
        ("format=a%2Bb", "a+b"),
        ("format=a%20b", "a b"),
        ("format=%C3%BC", "ü"),
        ("format=a%3Bb", "a;b"),
        ("format=CSV", "CSV"),
        ("format=csv?", "csv?"),
        ("formats=csv", None),
        ("informat=1", None),
        ("x[format]=csv", None),
        ("_format=csv&format_=csv&a&.format=1", None),
        ("a&b&format=csv&c", "csv"),
        ("a%26format=csv", REJECTED),
        ("a=%zz", None),
        ("a=1;b=2", None),
        ("a=1;b%zz=2", REJECTED),
        ("a=%FF&b=%00&c=%2525", None),
        ("format=csv&a=%zz", "csv"),
        # servers take the first, the last, or a list
        ("format=csv&format=json", REJECTED),
        ("format=csv&format=csv", REJECTED),
        ("format&format", REJECTED),
        ("f%6Frmat=csv&format=json", REJECTED),
        # the same key to some servers
        ("Format=csv", REJECTED),
        ("FORMAT=csv&format=json", REJECTED),
        ("format[]=csv", REJECTED),
        ("format%5B%5D=csv", REJECTED),
        ("format[0]=csv", REJECTED),
        ("+format=csv", REJECTED),
        ("format%20=csv", REJECTED),
        ("%EF%BD%86ormat=csv", REJECTED),
        # some servers end a value at a semicolon
        ("a=1;format=csv", REJECTED),
        ("a;format=csv", REJECTED),
        ("format=csv;a=1", REJECTED),
        ("format;a=1", REJECTED),
        # not readable
        ("form%zzat=csv", REJECTED),
        ("a%=1", REJECTED),
        ("%FF=1", REJECTED),
        ("format=%zz", REJECTED),
        ("format=%", REJECTED),
        ("format=%u0063sv", REJECTED),
        ("format=%FF", REJECTED),
        ("format=%C0%AF", REJECTED),
        ("format%00=csv", REJECTED),
        ("format=csv%00", REJECTED),
        ("format=csv%0A", REJECTED),
        ("format=%2563sv", REJECTED),
        ("f%256Frmat=csv", REJECTED),
    ],
)
def test_the_query_is_read_as_forms_are(query: str, value: str | Unmatched | None) -> None:
    assert read(GivenFields(query=query), (QUERY, "format")) == value


def test_a_key_may_have_brackets_and_dots() -> None:
    assert read(GivenFields(query="filter[status]=open&filter[x]=1"), (QUERY, "filter[status]")) == "open"
    assert read(GivenFields(query="filter%5Bstatus%5D=open"), (QUERY, "filter[status]")) == "open"
    assert read(GivenFields(query="$top=5"), (QUERY, "$top")) == "5"
    for query in ("for.mat=1", "for+mat=1", "for_mat=1&for%2Emat=1"):
        assert read(GivenFields(query=query), (QUERY, "for_mat")) is REJECTED
    assert read(GivenFields(query="for_mat=1&_for_mat=2"), (QUERY, "for_mat")) == "1"


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([], None),
        ([("X-Other", "1")], None),
        ([("X_Plan", "1")], None),
        ([("x-PLAN", "gold")], "gold"),
        ([("X-Plan", " \tgold\t ")], "gold"),
        ([("X-Plan", "")], ""),
        ([("X-Plan", "a, b")], "a, b"),
        ([("X-Plan", "a"), ("X-Plan", "b")], REJECTED),
        ([("X-Plan", "a"), ("x-plan", "a")], REJECTED),
    ],
)
def test_a_header_is_read_in_any_case_and_once(headers: list[tuple[str, str]], value: str | Unmatched | None) -> None:
    assert read(GivenFields(tuple(headers)), (HEADER, "x-plan")) == value


PAIRS = st.lists(st.tuples(st.sampled_from(["format", "a", "b c", "ü", ""]), st.text(max_size=5)), max_size=5)


@given(PAIRS, st.sampled_from([quote, quote_plus]))
def test_what_any_client_encodes_is_read_as_the_standard_library_reads_it(
    pairs: list[tuple[str, str]], encode: Callable[..., str]
) -> None:
    query = "&".join(f"{encode(name, safe='')}={encode(value, safe='', errors='replace')}" for name, value in pairs)
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "format"]
    found = read(GivenFields(query=query), (QUERY, "format"))
    if len(values) > 1:
        assert found is REJECTED
    elif not isinstance(found, Unmatched):
        assert found == (values[0] if values else None)


SPELLINGS = st.text("format=&;%[]cv+.0256Fé\0 A", max_size=14)


@examples(500)
@given(SPELLINGS)
def test_no_query_breaks_a_condition_and_what_is_read_is_what_others_read(query: str) -> None:
    """Servers that end values at `;`, or ignore case, find what the gateway found; else the request is rejected."""
    found = read(GivenFields(query=query), (QUERY, "format"))
    if isinstance(found, Unmatched):
        return
    for separators in (query, query.replace(";", "&")):
        others = [value for name, value in parse_qsl(separators, keep_blank_values=True) if name.lower() == "format"]
        assert others == ([] if found is None else [found])


def test_a_condition_says_what_it_needs() -> None:
    assert str(Condition(QUERY, "format", frozenset({"xlsx", "csv"}))) == "the query key format to be csv or xlsx"
    assert str(Condition(HEADER, "X-Plan", frozenset({""}))) == "the header X-Plan to be empty"


def test_a_query_of_many_keys_is_read_in_less_than_a_moment() -> None:
    """As long as a head may be; three orders of magnitude are between this bound and a search that is not linear."""
    for query in ("a&" * 4000, "a;" * 4000 + "format", "&format" * 1100, "%61=%62&" * 1000, "format[" * 1100):
        began = process_time()
        read(GivenFields(query=query), (QUERY, "format"))
        assert process_time() - began < 0.1
