"""How long a server is left out."""

from gateway.proxy.server_health import ServerHealth


def test_the_pause_doubles_with_each_failed_probe_up_to_a_minute() -> None:
    health = ServerHealth(5.0)
    health.leave_out(100.0)
    pauses = [health.pause]
    for _ in range(5):
        health.probe_failed()
        pauses.append(health.pause)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert health.take_back(250.0) == 150.0


def test_a_server_that_fails_soon_after_it_was_taken_back_has_a_longer_pause() -> None:
    health = ServerHealth(5.0)
    health.leave_out(0.0)
    health.take_back(5.0)
    health.leave_out(6.0)
    assert (health.usable, health.pause) == (False, 10.0)
    health.take_back(16.0)
    health.leave_out(76.0)
    assert health.pause == 5.0
