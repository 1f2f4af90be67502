"""The report says who is hitting which limit, adds up, and draws it without any script."""

import json
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.analytics.batch import Row
from gateway.analytics.html import as_html
from gateway.analytics.report import Report, report_of, steps_of
from gateway.analytics.sink import Reading
from gateway.analytics.text import as_json, as_text
from tests.analytics.builders import MINUTE

SPAN = steps_of(MINUTE, MINUTE + 86_400)


def reading() -> Reading:
    said = {
        (MINUTE, Row("orders", "", "gold", "refused")): 30,
        (MINUTE, Row("orders", "", "", "allowed")): 70,
        (MINUTE, Row("orders", "each", "gold", "refused")): 20,
        (MINUTE + 900, Row("orders", "each", "gold", "refused")): 10,
        (MINUTE, Row("orders", "each", "", "allowed")): 70,
        (MINUTE, Row("orders", "trial", "", "shadow_refused")): 7,
    }
    return Reading(Counter(said), Counter({("each", "a" * 32): 17, ("each", "b" * 32): 3, ("each", "c" * 32): 1}))


def report(read: Reading | None = None, *, most: int = 2, caller: str | None = None) -> Report:
    return report_of(SPAN, read or reading(), "here", most_callers=most, caller=caller)


def test_text_says_what_refuses_whom_most_first() -> None:
    assert as_text(report()) == (
        "2026-02-01T00:00Z to 2026-02-02T00:00Z: 100 requests decided, 30 refused (30.0%)\n"
        "from here\n"
        "\n"
        "LIMIT  ENDPOINT  TIER  ALLOWED  REFUSED  WOULD REFUSE  UNAVAILABLE   SHARE\n"
        "each   orders    gold        0       30             0            0  100.0%\n"
        "each   orders    -          70        0             0            0    0.0%\n"
        "trial  orders    -           0        0             7            0  100.0%\n"
        "\n"
        "LIMIT  CALLER                            REFUSED\n"
        f"each   {'a' * 32}  17 to 26\n"
        f"each   {'b' * 32}  3 to 12\n"
        "each   (all others)                      1 to 10"
    )


def test_a_report_on_nothing_says_so() -> None:
    nothing = report(Reading(unreadable=2))
    assert as_text(nothing).endswith("no requests decided\nfrom here\n\n2 lines could not be read and are left out.")
    assert "None." in as_html(nothing)
    quiet = Reading(Counter({(MINUTE, Row("orders", "", "", "allowed")): 1, (MINUTE, Row("o", "l", "", "allowed")): 1}))
    assert as_text(report(quiet)).endswith("Nobody was refused.")


def test_of_one_caller_it_tells_what_is_known_of_them() -> None:
    assert as_text(report(most=1, caller="c" * 32)).splitlines()[3:] == [
        f"caller {'c' * 32}",
        "",
        "LIMIT  CALLER                            REFUSED",
        f"each   {'c' * 32}  1 to 10",
    ]
    assert as_text(report(caller="d" * 32)).endswith("Not among those that were refused most.")


def test_json_has_the_same_numbers() -> None:
    document = json.loads(as_json(report()))
    assert document["requests"] == {"allowed": 70, "refused": 30, "unavailable": 0}
    assert document["limits"][0] == {
        "limit": "each", "endpoint": "orders", "tier": "gold",
        "allowed": 0, "refused": 30, "shadow_refused": 0, "unavailable": 0,
    }  # fmt: skip
    assert document["callers"] == [
        {"limit": "each", "caller": "a" * 32, "refused_at_least": 17, "at_most": 26},
        {"limit": "each", "caller": "b" * 32, "refused_at_least": 3, "at_most": 12},
        {"limit": "each", "caller": None, "refused_at_least": 1, "at_most": 10},
    ]


class Page(HTMLParser):
    """What a browser would look for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_the_page_draws_it_and_needs_no_script_and_no_network() -> None:
    text = as_html(report())
    page = Page(text)
    assert page.tags["rect"] == 2
    assert page.tags["table"] == 2
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object"}
    assert not page.attributes & {"src", "href", "onload", "onclick"}
    assert "http://" not in text
    assert "https://" not in text
    drawing = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    first, second = drawing.iter("rect")
    assert first[0].text == "2026-02-01T00:00Z each: 20"
    assert second[0].text == "2026-02-01T00:15Z each: 10"
    assert float(first.attrib["height"]) == 2 * float(second.attrib["height"])
    assert float(first.attrib["y"]) + float(first.attrib["height"]) == 220


def test_names_cannot_get_out_of_the_page() -> None:
    name = "<script>alert('&')</script>"
    decisions = Counter({(MINUTE, Row(name, name, name, "refused")): 1})
    text = as_html(report(Reading(decisions, Counter({(name, name): 1}))))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_more_limits_than_colours_share_the_last_one() -> None:
    decisions = Counter({(MINUTE, Row("e", f"limit-{n}", "", "refused")): n + 1 for n in range(20)})
    text = as_html(report(Reading(decisions)))
    assert Page(text).tags["rect"] == 7
    assert f"all others: {sum(range(1, 15))}" in text


@given(st.integers(0, 2**33), st.integers(1, 400 * 86_400))
def test_a_span_has_whole_minutes_holds_both_its_ends_and_can_be_drawn(since: int, length: int) -> None:
    span = steps_of(since, since + length)
    assert span.since % 60 == span.until % 60 == span.step % 60 == 0
    assert span.since <= since
    assert since + length <= span.until
    assert (span.since, span.until) >= (since - 59, since + length)
    steps = list(range(span.since, span.until, span.step))
    assert 1 <= len(steps) <= 120
    assert span.start_of(span.until - 60) == steps[-1]


@pytest.mark.parametrize(
    ("hours", "minutes"), [(1, 1), (2, 1), (3, 2), (24, 15), (7 * 24, 120), (400 * 24, 4 * 24 * 60)]
)
def test_a_step_is_of_minutes_that_people_count_in(hours: int, minutes: int) -> None:
    assert steps_of(MINUTE, MINUTE + hours * 3600).step == minutes * 60


def test_numbers_stand_below_each_other() -> None:
    decisions = Counter({(MINUTE, Row("e", "each", "", "refused")): 7})
    text = as_html(report(Reading(decisions)))
    assert '<th class="number">Refused</th>' in text
    assert '<td class="number">7</td>' in text


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=30),
    st.integers(0, 20),
    st.integers(1, 4),
)
def test_bounds_of_callers_hold_whoever_the_others_are(known: list[tuple[str, int]], unknown: int, most: int) -> None:
    hits: Counter[tuple[str, str]] = Counter()
    for who, times in known:
        hits["each", who] += times
    total = hits.total() + unknown
    decisions = Counter({(MINUTE, Row("e", "each", "", "refused")): total}) if total else Counter()
    told = report(Reading(decisions, hits), most=most).callers
    assert sum(each.least for each in told) == hits.total()
    assert sum(bool(each.caller) for each in told) == min(most, len(hits))
    for each in told:
        assert each.least <= each.most <= min(total, each.least + unknown)
