"""The life of a client connection goes one way, and every state can end."""

from gateway.proxy.connection_state import CLOSED, OPEN, TRANSITIONS, State


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {OPEN}.union(*TRANSITIONS.values()) == set(State)


def test_every_state_can_end_and_none_comes_back() -> None:
    order = list(State)
    for state, following in TRANSITIONS.items():
        assert CLOSED in following
        assert all(order.index(after) > order.index(state) for after in following - {CLOSED})
