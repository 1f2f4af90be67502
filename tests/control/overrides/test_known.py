"""What a worker knows of overrides is the same, however it came to know it."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.overrides.known import NEVER, KnownOverrides
from gateway.control.overrides.model import OverrideRecord
from gateway.control.target import ATTRIBUTES, Target
from gateway.limits.holder import ADDRESS, USER
from gateway.limits.override import Effect, Override

USERS = [(USER, "ana"), (USER, 'b "o" b\\'), (ADDRESS, "192.0.2.1"), (ADDRESS, "198.51.100.0/24"),
    (ATTRIBUTES, "org/acme"), (ATTRIBUTES, "org/a%2Fb%22/team/blue"), (ATTRIBUTES, "org/acme/user/ana"),
]  # fmt: skip
TARGETS = st.sampled_from(USERS)
TEXTS = st.builds(
    lambda target, effect, end: (target, effect, end),
    TARGETS,
    st.sampled_from([Effect.BLOCK, Effect.EXEMPT]),
    st.integers(1, 9),
)
CHANGES = st.lists(st.tuples(st.booleans(), st.lists(TEXTS, max_size=4), st.lists(TARGETS, max_size=2)), max_size=6)


def digest(target: tuple[str, str]) -> bytes:
    return b"%032x" % USERS.index(target)


def record(target: tuple[str, str], effect: Effect, end: int) -> OverrideRecord:
    return OverrideRecord(Target(*target), Override(effect, end, "a test"), "ana", "2030-01-01T00:00:00Z")


def unexpected(_digest: bytes, error: Exception) -> None:
    raise AssertionError(error)


def in_force(known: KnownOverrides) -> dict[Any, Override]:
    attributes = {
        (holder, name): each for holder, some in known.in_force.attributes.items() for name, each in some.items()
    }
    return {**known.in_force.users, **known.in_force.networks, **attributes}


@given(CHANGES, st.integers(1, 9))
def test_changes_one_by_one_and_all_at_once_lead_to_the_same(changes: list[Any], now: int) -> None:
    async def play() -> None:
        known, stored = KnownOverrides(), dict[bytes, bytes]()
        for is_whole, sets, removed in changes:
            texts = {digest(target): record(target, effect, end).text() for target, effect, end in sets}
            gone = {digest(target) for target in removed} - texts.keys()
            stored = {each: text for each, text in stored.items() if each not in gone and not is_whole} | texts
            if is_whole:
                known = await known.replaced(stored, now, unexpected)
            else:
                known = await known.changed(texts, gone, now, unexpected)
        whole = await KnownOverrides().replaced(stored, now, unexpected)
        assert known.texts == whole.texts == stored
        assert in_force(known) == in_force(whole)
        assert (known.expires_at, set(known.expired)) == (whole.expires_at, set(whole.expired))
        for later in range(now, 11):
            lasting = {key: each for key, each in in_force(known).items() if each.expires_at > later}
            assert in_force(known.at(later)) == lasting
            assert known.at(later).expires_at > later
        last = known.at(10)
        assert (set(last.expired), last.expires_at, in_force(last)) == (set(stored), NEVER, {})
        assert last.without(last.expired) == KnownOverrides()

    asyncio.run(play())


async def test_an_unreadable_one_is_reported_and_what_is_in_force_stays() -> None:
    told: list[bytes] = []
    ana, net = USERS[0], USERS[3]
    known = await KnownOverrides().replaced(
        {digest(each): record(each, Effect.BLOCK, 9).text() for each in (ana, net)}, 0, unexpected
    )
    worse = {digest(ana): b'{"user":"ana","effect":"yet unknown"}', digest(net): b'{"address":"198.51.100.0/24",'}
    after = await known.changed(worse, (), 0, lambda each, _: told.append(each))
    assert told == [digest(ana), digest(net)]
    assert in_force(after) == in_force(known)
    assert after.texts == worse
    assert in_force(await after.changed({}, [digest(ana), digest(net)], 0, unexpected)) == {}
