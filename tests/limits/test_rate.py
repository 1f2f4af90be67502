"""A rate as operators write it, and the interval it comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.rate import MICROSECONDS, Rate

LONGEST = 366 * 86_400


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    seconds = draw(st.integers(1, LONGEST))
    return Rate(draw(st.integers(1, seconds * MICROSECONDS)), seconds)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s", Rate(50, 1)),
        ("50/sec", Rate(50, 1)),
        ("50/second", Rate(50, 1)),
        ("50/seconds", Rate(50, 1)),
        ("100/m", Rate(100, 60)),
        ("100/min", Rate(100, 60)),
        ("100/minute", Rate(100, 60)),
        ("100/minutes", Rate(100, 60)),
        ("7/h", Rate(7, 3_600)),
        ("7/hour", Rate(7, 3_600)),
        ("7/hours", Rate(7, 3_600)),
        ("9/d", Rate(9, 86_400)),
        ("9/day", Rate(9, 86_400)),
        ("9/days", Rate(9, 86_400)),
        ("10/15s", Rate(10, 15)),
        ("10/2days", Rate(10, 172_800)),
        (" 10 / 15 s ", Rate(10, 15)),
        ("1000000/s", Rate(1_000_000, 1)),
        ("1/366d", Rate(1, LONGEST)),
    ],
)
def test_spellings(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "10",
        "10/",
        "/s",
        "10/15",
        "10/S",
        "10/Minute",
        "10 per minute",
        "-1/s",
        "+1/s",
        "1.5/s",
        "1/1.5s",
        "1e3/s",
        "1_000/s",
        "1,000/s",
        "10/s/s",
        "10/s\nburst",
        "\uff11\uff10/s",
        "\u0661/s",
        "10/\u0661s",
        "1" * 65 + "/s",
        "1/" + "1" * 65 + "s",
    ],
)
def test_what_is_not_a_rate_is_quoted_back_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate; write tokens/period, as in 100/minute") as caught:
        Rate.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/s", "at least 1 token"),
        ("10/0s", "at least 1 second"),
        ("1/367d", "at most 366 days"),
        ("1/999999999d", "at most 366 days"),
        ("1000001/s", "at most 1000000 tokens a second"),
        ("999999999999999999/s", "at most 1000000 tokens a second"),
    ],
)
def test_impossible_rates_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rate.parse(text)


@given(rates())
def test_a_rate_is_written_the_way_it_is_read(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["10/w", "10/month", "10/2weeks"])
def test_a_wrong_unit_is_named_with_the_units_that_exist(text: str) -> None:
    with pytest.raises(ValueError, match="is not a unit; the units are s, m, h and d, or sec, second, min,") as caught:
        Rate.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["5/second", "5/s", "60/60s", "5/hours", "48/2d", "10 / 15 s", "0100/minute"])
def test_a_rate_is_shown_as_it_was_written_and_equal_to_the_same_in_other_words(text: str) -> None:
    rate = Rate.parse(f" {text} ")
    assert str(rate) == text
    assert rate == Rate(rate.tokens, rate.seconds)
    assert hash(rate) == hash(Rate(rate.tokens, rate.seconds))


@pytest.mark.parametrize("text", ["5/s", "5/minute", "5/hour", "5/day", "5/15s"])
def test_a_rate_that_nobody_wrote_has_the_name_of_its_period(text: str) -> None:
    rate = Rate.parse(text)
    assert str(Rate(rate.tokens, rate.seconds)) == text


@given(rates())
def test_the_interval_is_the_exact_one_rounded_up_to_the_microsecond(rate: Rate) -> None:
    assert rate.interval >= 1
    assert rate.interval * rate.tokens >= rate.seconds * MICROSECONDS
    assert (rate.interval - 1) * rate.tokens < rate.seconds * MICROSECONDS
