"""`block`: whose requests are refused, and what each mistake is answered with."""

from pathlib import Path

import pytest

from gateway.config.summary import summary
from gateway.limits.address import name_clients
from tests.config.reading import load_rules_text, rules_problems


def test_networks_and_users_are_read_in_the_form_in_which_limits_know_them(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path,
        'block: {networks: [203.0.113.0/24, 198.51.100.7, "2001:db8::1", "64:ff9b::192.0.2.1"], users: [mallory, 7]}\n',
    )
    block = loaded.rules.block
    assert list(map(name_clients, block.networks)) == ["203.0.113.0/24", "198.51.100.7", "2001:db8::/64", "192.0.2.1"]
    assert block.users == {"mallory", "7"}
    assert loaded.warnings == ()
    text = summary(loaded, 1)
    assert "blocked   203.0.113.0/24, 198.51.100.7, 2001:db8::/64 and 1 more, 2 users" in text
    assert "mallory" not in text
    assert "blocked   1 user\n" in summary(load_rules_text(tmp_path, "block: {users: [mallory]}\n"), 1)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("{}", "1:8: block: this blocks nobody; list 'networks', 'users' or 'attributes'"),
        ("{networks: []}", "1:19: block.networks: the list is empty"),
        ("{users: []}", "1:16: block.users: the list is empty"),
        (
            "{networks: [10.0.0.1/8]}",
            "1:20: block.networks[0]: '10.0.0.1/8' has bits set after its prefix; write 10.0.0.0/8",
        ),
        (
            "{networks: ['2001:db8::/96']}",
            "1:20: block.networks[0]: '2001:db8::/96' is a part of one IPv6 client; write 2001:db8::/64",
        ),
        (
            "{networks: [office]}",
            (
                "1:20: block.networks[0]: 'office' is neither an address nor a network; write 198.51.100.7, "
                "198.51.100.0/24 or 2001:db8::/64"
            ),
        ),
        ("{networks: [10.0.0.1, 10.0.0.1/32]}", "1:30: block.networks[1]: duplicate item in this list"),
        (
            "{users: [10.0.0.1]}",
            "1:17: block.users[0]: '10.0.0.1' is an address, which nobody has for a user ID; list it under 'networks'",
        ),
        (
            "{user: [bob]}",
            (
                "1:9: block.user: unknown key 'user'; the keys here are attributes, networks, users (did you mean "
                "'users'?)"
            ),
        ),
    ],
)
def test_mistake_is_told_with_its_place(block: str, problem: str, tmp_path: Path) -> None:
    assert problem in [each.removeprefix("rules.yaml:") for each in rules_problems(tmp_path, f"block: {block}\n")]


def test_a_user_who_is_exempt_and_blocked_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load_rules_text(tmp_path, "exempt: {users: [ana, bob]}\nblock: {users: [ana]}\n").warnings
    assert (warning.path, warning.line) == ("block", 2)
    assert warning.message == "1 of these users are also exempt; a block comes first, so they are refused"


def test_an_address_among_exempt_users_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load_rules_text(tmp_path, "exempt: {users: [198.51.100.7]}\n").warnings
    assert warning.message.startswith("'198.51.100.7' is an address, which nobody has for a user ID")


def test_an_ipv4_network_within_ipv6_which_matches_no_client_is_refused(tmp_path: Path) -> None:
    (problem,) = rules_problems(tmp_path, "exempt: {networks: ['::ffff:10.0.0.0/104']}\n")
    assert problem.endswith("matches no client; write the IPv4 network (did you mean 10.0.0.0/8?)")


def test_a_wildcard_in_an_id_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load_rules_text(tmp_path, "block: {users: ['a*']}\n").warnings
    assert warning.message == "'*' is no wildcard here: only the user with the ID 'a*' is blocked"


@pytest.mark.parametrize(("network", "version"), [("0.0.0.0/0", 4), ("::/0", 6)])
def test_a_block_of_everybody_is_warned_of(network: str, version: int, tmp_path: Path) -> None:
    (warning,) = load_rules_text(tmp_path, f"block: {{networks: ['{network}']}}\n").warnings
    assert f"{network} is everybody with an IPv{version} address: all their requests are refused" in str(warning)
