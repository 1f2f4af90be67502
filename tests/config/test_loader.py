"""Whatever is in the files: the loader loads, or says what is wrong; nothing else gets out."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import load, load_rules
from tests.config.test_shipped import CONFIG, TABLES
from tests.fuzzing import examples

SHIPPED = (CONFIG / "gateway.yaml").read_bytes()
ORDERS = (CONFIG / "rules" / "orders.yaml").read_bytes()
WORDS = sorted({key for table in TABLES.values() for key in table} | {"default", "memory", "user", "GET", "HS256"})
SCALARS = [
    "1/s",
    "0",
    "-1",
    "true",
    "~",
    "/a/{b}",
    "http://a:1",
    "redis://u:p@h",
    "10.0.0.0/8",
    "2s",
    "64KiB",
    "\x85",
    "é",
]

value = st.recursive(
    st.sampled_from(WORDS + SCALARS) | st.text(max_size=5) | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=20,
)


def load_or_problems(gateway: bytes, rules: bytes) -> None:
    """Load two files; every problem is one line that starts with a file."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway.yaml").write_bytes(gateway)
        (folder / "rules.yaml").write_bytes(rules)
        lines = problems_of(folder / "gateway.yaml", Flags(rules=str(folder / "rules.yaml")))
        assert all(line.isprintable() and line.startswith(name) for line in lines)


def problems_of(file: Path | None, flags: Flags) -> list[str]:
    """One line for each problem; none when it loads."""
    try:
        loaded = load(file, flags)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    load_rules(loaded.settings)
    return []


@examples(200)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_loaded_or_refused(gateway: bytes, rules: bytes) -> None:
    load_or_problems(gateway, rules)


@settings(examples(300), suppress_health_check=[HealthCheck.too_slow])
@given(value, value)
def test_any_yaml_is_loaded_or_refused(gateway: Any, rules: Any) -> None:
    load_or_problems(yaml.safe_dump(gateway).encode(), yaml.safe_dump(rules).encode())


@examples(200)
@given(st.data())
def test_any_damage_to_the_shipped_files_is_loaded_or_refused(data: st.DataObject) -> None:
    def damage(content: bytes) -> bytes:
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 20))
        return content[:start] + data.draw(st.binary(max_size=6)) + content[end:]

    load_or_problems(damage(SHIPPED), damage(ORDERS))


@examples(200)
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_any_flags_are_loaded_or_refused(upstream: str, listen: str, store: str, workers: str) -> None:
    for scheme, kind in (("", ""), ("http://", "redis://")):
        lines = problems_of(None, Flags(scheme + upstream, listen, None, kind + store, None, workers))
        assert all(line.isprintable() and line.startswith("--") for line in lines)


def test_gateway_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "none.yaml")
    assert str(error.value) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
