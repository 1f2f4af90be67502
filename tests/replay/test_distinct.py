"""Different digests are counted exactly at first, and then about, in bounded memory."""

from hashlib import blake2b

from gateway.replay.distinct import Distinct


def digest(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).hexdigest().encode()


def test_the_first_ones_are_counted_exactly() -> None:
    distinct = Distinct(100)
    for number in range(100):
        distinct.add(digest(number))
        distinct.add(digest(number // 2))
    assert (distinct.count, distinct.is_exact) == (100, True)


def test_more_are_counted_about_and_their_number_takes_no_memory() -> None:
    distinct = Distinct(1_000)
    for number in range(50_000):
        distinct.add(digest(number))
        distinct.add(digest(number // 3))
    assert not distinct.is_exact
    assert 43_000 < distinct.count < 57_000  # four standard errors
    assert len(distinct._lowest) <= 2_000


def test_asking_changes_nothing() -> None:
    distinct = Distinct(10)
    for number in range(15):
        distinct.add(digest(number))
    assert distinct.count == distinct.count
    assert not distinct.is_exact
