"""The report says who is hitting which limit, its numbers add up, and its chart needs no script."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.analytics.batch import Row
from gateway.analytics.html import as_html
from gateway.analytics.report import Report, make_report, time_range
from gateway.analytics.sink import Totals
from gateway.analytics.text import as_json, as_text
from tests.analytics.builders import MINUTE

PERIOD = time_range(MINUTE, MINUTE + 86_400)


def totals() -> Totals:
    decisions = {
        (MINUTE, Row("orders", "", "gold", "refused")): 30,
        (MINUTE, Row("orders", "", "", "allowed")): 70,
        (MINUTE, Row("orders", "each", "gold", "refused")): 20,
        (MINUTE + 900, Row("orders", "each", "gold", "refused")): 10,
        (MINUTE, Row("orders", "each", "", "allowed")): 70,
        (MINUTE, Row("orders", "trial", "", "shadow_refused")): 7,
    }
    return Totals(Counter(decisions), Counter({("each", "a" * 32): 17, ("each", "b" * 32): 3, ("each", "c" * 32): 1}))


def report(of: Totals | None = None, *, most: int = 2, **options: Any) -> Report:
    return make_report(PERIOD, of or totals(), "here", most_callers=most, **options)


def busy() -> Totals:
    """Two endpoints, of which one is eaten by a caller that was never refused."""
    decisions = {
        (MINUTE, Row("orders", "", "", "allowed")): 60,
        (MINUTE, Row("orders", "", "", "refused")): 12,
        (MINUTE, Row("orders", "", "", "unavailable")): 1,
        (MINUTE, Row("orders", "each", "", "refused")): 9,
        (MINUTE, Row("orders", "each", "gold", "refused")): 1,
        (MINUTE, Row("orders", "all", "", "refused")): 4,
        (MINUTE, Row("carts", "", "", "allowed")): 5,
        (MINUTE, Row("carts", "each", "", "refused")): 3,
    }
    spent = {
        ("orders", "each", "a" * 32): 100,
        ("orders", "each", "b" * 32): 20,
        ("orders", "each", ""): 5,
        ("carts", "each", "b" * 32): 4,
    }
    return Totals(Counter(decisions), Counter({("each", "b" * 32): 13}), Counter(spent))


WEEK = time_range(MINUTE, MINUTE + 7 * 86_400)


def week(counts: dict[int, int]) -> Report:
    decisions = Counter({(step, Row("orders", "", "", "allowed")): count for step, count in counts.items()})
    return make_report(WEEK, Totals(decisions), "here", most_callers=2)


def test_text_lists_limits_and_callers_most_refusals_first() -> None:
    assert as_text(report()) == (
        "2026-02-01T00:00Z to 2026-02-02T00:00Z: 100 requests decided, 30 refused (30.0%)\n"
        "from here\n"
        "\n"
        "ENDPOINT  PASSED  REFUSED  UNAVAILABLE  REFUSED BY\n"
        "orders        70       30            0  each 30\n"
        "\n"
        "LIMIT  ENDPOINT  TIER  ALLOWED  REFUSED  TOLD  WOULD REFUSE  UNAVAILABLE   SHARE\n"
        "each   orders    gold        0       30     0             0            0  100.0%\n"
        "each   orders    -          70        0     0             0            0    0.0%\n"
        "trial  orders    -           0        0     0             7            0  100.0%\n"
        "\n"
        "LIMIT  CALLER                            REFUSED\n"
        f"each   {'a' * 32}  17 to 26\n"
        f"each   {'b' * 32}  3 to 12\n"
        "each   (all others)                      1 to 10"
    )


def test_a_report_on_nothing_says_so() -> None:
    nothing = report(Totals(unreadable=2))
    assert as_text(nothing).endswith("no requests decided\nfrom here\n\n2 lines could not be parsed and are left out.")
    assert "None." in as_html(nothing)
    quiet = Totals(Counter({(MINUTE, Row("orders", "", "", "allowed")): 1, (MINUTE, Row("o", "l", "", "allowed")): 1}))
    assert as_text(report(quiet)).endswith("Nobody was refused.")


def test_a_report_on_one_caller_lists_that_caller() -> None:
    assert as_text(report(most=1, caller="c" * 32)).splitlines()[3:] == [
        f"caller {'c' * 32}",
        "",
        "LIMIT  CALLER                            REFUSED",
        f"each   {'c' * 32}  1 to 10",
    ]
    assert as_text(report(caller="d" * 32)).endswith("This caller is not among those that were refused most.")


def test_who_eats_an_endpoint_is_listed_though_never_refused_and_by_name() -> None:
    text = as_text(report(busy(), endpoint="orders", names={"a" * 32: "ana"}, most=1))
    assert text == (
        "2026-02-01T00:00Z to 2026-02-02T00:00Z, endpoint orders: 73 requests decided, 12 refused (16.4%)\n"
        "from here\n"
        "\n"
        "ENDPOINT  PASSED  REFUSED  UNAVAILABLE  REFUSED BY\n"
        "orders        60       12            1  each 10, all 4\n"
        "\n"
        "LIMIT  ENDPOINT  TIER  ALLOWED  REFUSED  TOLD  WOULD REFUSE  UNAVAILABLE   SHARE\n"
        "each   orders    -           0        9     0             0            0  100.0%\n"
        "all    orders    -           0        4     0             0            0  100.0%\n"
        "each   orders    gold        0        1     0             0            0  100.0%\n"
        "\n"
        "ENDPOINT  LIMIT  CALLER        COST        SHARE\n"
        "orders    each   ana           100 to 105  80.0%\n"
        "orders    each   (all others)  20 to 25    16.0%\n"
        "\n"
        "LIMIT  CALLER                            REFUSED\n"
        f"each   {'b' * 32}  13\n"
        "all    (all others)                      0 to 4"
    )


def test_what_one_caller_was_charged_is_listed_for_each_endpoint() -> None:
    lines = as_text(report(busy(), caller="b" * 32, names={"b" * 32: "bob"})).splitlines()
    assert lines[3:8] == [
        "caller bob",
        "",
        "ENDPOINT  LIMIT  CALLER  COST       SHARE",
        "orders    each   bob     20 to 25   16.0%",
        "carts     each   bob     4         100.0%",
    ]


def test_json_has_the_endpoints_and_the_callers_that_were_charged_most() -> None:
    document = json.loads(as_json(report(busy(), names={"a" * 32: "ana"}, most=1)))
    assert document["endpoints"][0] == {
        "endpoint": "orders", "allowed": 60, "refused": 12, "unavailable": 1, "refused_by": {"each": 10, "all": 4},
    }  # fmt: skip
    assert document["spenders"][:2] == [
        {
            "endpoint": "orders",
            "limit": "each",
            "caller": "a" * 32,
            "user": "ana",
            "cost_at_least": 100,
            "at_most": 105,
        },
        {"endpoint": "orders", "limit": "each", "caller": None, "cost_at_least": 20, "at_most": 25},
    ]


def test_json_has_the_same_numbers() -> None:
    document = json.loads(as_json(report()))
    assert document["requests"] == {"allowed": 70, "refused": 30, "unavailable": 0}
    assert document["limits"][0] == {
        "limit": "each", "endpoint": "orders", "tier": "gold",
        "allowed": 0, "refused": 30, "told": 0, "shadow_refused": 0, "unavailable": 0,
    }  # fmt: skip
    assert document["callers"] == [
        {"limit": "each", "caller": "a" * 32, "refused_at_least": 17, "at_most": 26},
        {"limit": "each", "caller": "b" * 32, "refused_at_least": 3, "at_most": 12},
        {"limit": "each", "caller": None, "refused_at_least": 1, "at_most": 10},
    ]


def test_a_candidate_is_shown_against_the_limit_in_force() -> None:
    """Only for the endpoints and tiers where both were counted."""
    decisions = {
        (MINUTE, Row("orders", "", "", "allowed")): 90,
        (MINUTE, Row("orders", "", "", "refused")): 10,
        (MINUTE, Row("orders", "each", "", "allowed")): 90,
        (MINUTE, Row("orders", "each", "", "refused")): 10,
        (MINUTE, Row("orders", "each (candidate)", "", "allowed")): 60,
        (MINUTE, Row("orders", "each (candidate)", "", "shadow_refused")): 40,
        (MINUTE, Row("carts", "each (candidate)", "", "shadow_refused")): 5,
    }
    made = report(Totals(Counter(decisions)))
    assert (
        "LIMIT  ENDPOINT  TIER  LIVE REFUSED  NOT ENFORCED  SHARE  CANDIDATE WOULD  ITS SHARE\n"
        "each   orders    -               10             0  10.0%               40      40.0%\n"
    ) in as_text(made)
    assert json.loads(as_json(made))["candidates"] == [
        {"limit": "each", "endpoint": "orders", "tier": None,
         "refused": 10, "shadow_refused": 0, "candidate_would_refuse": 40},
    ]  # fmt: skip
    page = as_html(made)
    assert "Limits against their candidates" in page
    assert "<td>40.0%</td>" in re.sub(r'<td class="[^"]*">', "<td>", page)


class Page(HTMLParser):
    """The tags and attributes that a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def drawings(text: str) -> list[ET.Element]:
    return [ET.fromstring(each + "</svg>") for each in re.findall(r"(<svg.*?)</svg>", text, re.DOTALL)]


def columns(drawing: ET.Element) -> dict[str, float]:
    """The heights of the parts of columns, by their titles."""
    return {str(each[0].text): float(each.attrib["height"]) for each in drawing.iter("rect")}


def test_the_page_has_charts_and_needs_no_script_and_no_network() -> None:
    text = as_html(report(busy()))
    page = Page(text)
    assert page.tags["svg"] == 2 + 2 + 2
    assert page.tags["table"] == 4
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object"}
    assert not page.attributes & {"src", "href", "onload", "onclick"}
    assert "http://" not in text
    assert "https://" not in text
    traffic, refusals, orders, *_ = drawings(text)
    assert columns(traffic).keys() == {f"2026-02-01T00:00Z {each}" for each in (
        "passed: 65", "unavailable (503): 1", "refused: 12")}  # fmt: skip
    assert columns(refusals).keys() == {"2026-02-01T00:00Z each: 13", "2026-02-01T00:00Z all: 4"}
    heights = columns(orders)
    assert heights["2026-02-01T00:00Z passed: 60"] == pytest.approx(5 * heights["2026-02-01T00:00Z refused: 12"], 0.01)
    assert "73 requests, 12 refused, 16.4%" in text


def test_axes_have_dates_grid_lines_and_thousands() -> None:
    steps = range(WEEK.since, WEEK.until, WEEK.step)
    text = as_html(week(dict.fromkeys(steps, 12_000)))
    labels = [each.text for each in drawings(text)[0].iter("text")]
    assert labels[:4] == ["0", "5,000", "10,000", "15,000"]
    assert {"2 Feb", "7 Feb"} <= set(labels)
    assert "1,008,000" in text
    assert "The scale ends" not in text


def test_one_spike_does_not_flatten_a_week_and_the_page_says_that_it_is_cut_off() -> None:
    steps = list(range(WEEK.since, WEEK.until, WEEK.step))
    text = as_html(week({step: 1_000_000 if step == steps[40] else 900 + place for place, step in enumerate(steps)}))
    heights = sorted(columns(drawings(text)[0]).values())
    assert heights[0] > heights[-1] / 4
    assert "The scale ends at 2,000. Columns marked \u25b2 are higher and cut off, up to 1,000,000." in text
    assert [each.text for each in drawings(text)[0].iter("text") if each.get("class") == "peak"] == ["1,000,000"]


def test_a_single_refusal_in_much_traffic_is_seen() -> None:
    decisions = {(MINUTE, Row("e", "", "", "allowed")): 1_000_000, (MINUTE, Row("e", "", "", "refused")): 1}
    assert columns(drawings(as_html(report(Totals(Counter(decisions)))))[0])["2026-02-01T00:00Z refused: 1"] >= 1


def test_of_many_endpoints_the_busiest_have_a_chart_and_all_a_row() -> None:
    decisions = Counter({(MINUTE, Row(f"e{number}", "", "", "allowed")): number + 1 for number in range(20)})
    text = as_html(report(Totals(decisions)))
    assert Page(text).tags["figure"] == 12
    assert "8 with fewer requests have no chart" in text
    assert text.count("<tr>") == 21


def test_names_are_escaped_in_the_page() -> None:
    name = "<script>alert('&')</script>"
    decisions = Counter({(MINUTE, Row(name, name, name, "refused")): 1})
    text = as_html(report(Totals(decisions, Counter({(name, name): 1}))))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_more_limits_than_colours_share_the_last_one() -> None:
    decisions = Counter({(MINUTE, Row("e", f"limit-{n}", "", "refused")): n + 1 for n in range(20)})
    text = as_html(report(Totals(decisions)))
    assert len(columns(drawings(text)[0])) == 7
    assert f"all others: {sum(range(1, 15))}" in text


@given(st.integers(0, 2**33), st.integers(1, 400 * 86_400))
def test_a_time_range_has_whole_minutes_includes_both_ends_and_fits_a_chart(since: int, length: int) -> None:
    period = time_range(since, since + length)
    assert period.since % 60 == period.until % 60 == period.step % 60 == 0
    assert period.since <= since
    assert since + length <= period.until
    assert (period.since, period.until) >= (since - 59, since + length)
    steps = list(range(period.since, period.until, period.step))
    assert 1 <= len(steps) <= 120
    assert period.step_of(period.until - 60) == steps[-1]


@pytest.mark.parametrize(
    ("hours", "minutes"), [(1, 1), (2, 1), (3, 2), (24, 15), (7 * 24, 120), (400 * 24, 4 * 24 * 60)]
)
def test_a_step_is_a_round_number_of_minutes(hours: int, minutes: int) -> None:
    assert time_range(MINUTE, MINUTE + hours * 3600).step == minutes * 60


def test_numbers_are_aligned_to_the_right() -> None:
    decisions = Counter({(MINUTE, Row("e", "each", "", "refused")): 7})
    text = as_html(report(Totals(decisions)))
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
    callers = report(Totals(decisions, hits), most=most).callers
    assert sum(each.at_least for each in callers) == hits.total()
    assert sum(bool(each.caller) for each in callers) == min(most, len(hits))
    for each in callers:
        assert each.at_least <= each.at_most <= min(total, each.at_least + unknown)
