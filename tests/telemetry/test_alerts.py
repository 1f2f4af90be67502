"""The alert rules: checked as far as Python can, and by promtool when it is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.definitions import BY_NAME, MetricType

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "prometheus"
OPERATIONS = ROOT / "docs" / "operations.md"
DURATION = re.compile(r"\d+[smhd]")
NAME = re.compile(r"\bgateway_\w+")
SELECTOR = re.compile(r"(gateway_\w+)\{([^}]*)\}")


RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]


each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


@each_rule
def test_a_rule_has_a_severity_a_summary_a_description_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["alert"].startswith("Gateway")
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"].startswith("docs/operations.md#")
    if "for" in rule:
        assert DURATION.fullmatch(rule["for"])


@each_rule
def test_a_rule_names_metrics_that_there_are(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    names = set(NAME.findall(expression))
    assert names <= BY_NAME.keys()
    assert names or re.match(r"up\{", expression)
    assert expression.count("(") == expression.count(")")
    for name, matchers in SELECTOR.findall(expression):
        labels = {matcher.split("=")[0].strip("~! ") for matcher in matchers.split(",")}
        assert labels <= {*BY_NAME[name].labels, "worker", "job"}
    for name in names:
        # A counter's value says nothing, only its increase does. Lost series never come back, so their number does.
        if BY_NAME[name].type is MetricType.COUNTER and name != "gateway_series_lost_total":
            assert re.search(rf"(rate|increase)\({name}[^)]*\[\d+m\]\)", expression)


@each_rule
def test_a_rule_uses_only_labels_that_are_there(rule: dict[str, Any]) -> None:
    text = " ".join(rule["annotations"].values())
    used = set(re.findall(r"\$labels\.(\w+)", text))
    grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
    if grouped is not None:
        assert used <= set(re.split(r",\s*", grouped[1]))
    else:
        assert used <= {"instance", "job", "worker"}


def test_every_rule_is_tested_to_fire() -> None:
    tests = (FOLDER / "alerts.test.yaml").read_text()
    for rule in RULES:
        assert f'alertname="{rule["alert"]}", severity="{rule["labels"]["severity"]}"' in tests


@each_rule
def test_a_runbook_is_there(rule: dict[str, Any]) -> None:
    heading = rule["annotations"]["runbook"].partition("#")[2].replace("-", "[ -]")
    assert re.search(rf"^#+ {heading}$", OPERATIONS.read_text(), re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")])
@pytest.mark.needs("promtool")
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], check=False, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
