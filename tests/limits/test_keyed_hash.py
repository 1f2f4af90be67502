"""Keyed hashes: the same for a name whether it is remembered or not, and memory for so many names only."""

import tracemalloc
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.keyed_hash import KeyedHash


def expected(kind: str, key: bytes, name: str) -> bytes:
    text = name.encode(errors="surrogatepass")
    return blake2b(text, digest_size=16, key=key, person=kind.encode()).hexdigest().encode()


@given(names=st.lists(st.text(st.characters(), max_size=200), max_size=5), key=st.binary(max_size=64))
def test_a_digest_is_that_of_blake2b_each_time_it_is_asked_for(names: list[str], key: bytes) -> None:
    hashes = KeyedHash("user", key)
    for name in [*names, *names]:
        assert hashes.digest(name) == expected("user", key, name)


def test_a_name_that_was_forgotten_has_the_same_digest_again() -> None:
    hashes = KeyedHash("user", b"key")
    asked = [f"user-{number}" for number in range(40_000)]
    first = [hashes.digest(name) for name in asked]
    assert [hashes.digest(name) for name in asked] == first
    assert len(set(first)) == len(asked)


@pytest.mark.parametrize(("letter", "length"), [("0", 36), ("0", 128), ("\U0001f600", 128), ("0", 5000)])
def test_memory_is_bounded_however_many_names_come_and_however_long_they_are(letter: str, length: int) -> None:
    hashes = KeyedHash("user", b"key")
    tracemalloc.start()
    try:
        for number in range(70_000):
            hashes.digest(f"{number:{letter}>{length}}")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 32_768 * 700


def test_a_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a hash key has at most 64 bytes, this one has 65"):
        KeyedHash("user", bytes(65))
