"""What is remembered of the names of headers."""

from gateway.proxy.headers import SPECIAL_NAMES
from gateway.proxy.name_memo import NameMemo
from gateway.proxy.upstream_response import CONTROL_HEADERS


def test_each_name_is_looked_into_once_as_long_as_there_are_few() -> None:
    found: list[bytes] = []

    def find(name: bytes) -> bool:
        found.append(name)
        return b"_" in name

    memo = NameMemo(find)
    for _ in range(3):
        assert [memo.get(name) for name in (b"Accept", b"X_User", b"accept")] == [False, True, False]
    assert found == [b"Accept", b"X_User", b"accept"]


def test_a_peer_that_invents_names_gets_the_right_answers_and_fills_no_memory() -> None:
    memo = NameMemo(len)
    for _ in range(2):
        assert [memo.get(b"x" * size) for size in range(1, 3000)] == list(range(1, 3000))
    assert len(memo._known) <= 1024
    assert max(map(len, memo._known)) <= 64


def test_all_headers_that_frame_a_response_are_among_those_that_are_looked_at() -> None:
    assert all(SPECIAL_NAMES.get(name.title()) == name for name in CONTROL_HEADERS)
