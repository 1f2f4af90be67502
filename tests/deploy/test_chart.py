"""`deploy/kubernetes/chart`: with Helm, a cluster is asked for the same objects as with kustomize."""

import json
import re
import sys
import textwrap
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.loader import load
from tests.kit.process import ROOT, run

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
CHOSEN = ("--set-json", "settings.identity.trusted_proxies=[]")
"""What the chart does not install without."""

Resource = dict[str, Any]

needs_helm = pytest.mark.needs("helm")


async def template(*arguments: str, release: str = "gateway") -> list[Resource]:
    code, said = await run("helm", "template", release, CHART, *arguments)
    assert code == 0, said
    return list(yaml.safe_load_all(said))


async def kustomized(folder: Path) -> list[Resource]:
    code, said = await run(Path(sys.executable).with_name("kubectl"), "kustomize", folder)
    assert code == 0, said
    return list(yaml.safe_load_all(said))


def the(resources: list[Resource], kind: str, name: str = "gateway") -> Any:
    (found,) = [each for each in resources if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def comparable(value: Any) -> Any:
    """Without what each tool adds by itself: Helm's labels and checksums, kustomize's hashes in names."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if not isinstance(value, dict):
        return re.sub(r"^(gateway-(?:config|rules))-\w{10}$", r"\1", value) if isinstance(value, str) else value
    own = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart", "checksum/config"}
    cleaned = {key: comparable(each) for key, each in value.items() if key not in own}
    return {key: each for key, each in cleaned.items() if key != "annotations" or each}


def by_name(resources: list[Resource]) -> dict[tuple[str, str], Resource]:
    plain: list[Resource] = comparable(resources)
    for resource in plain:
        if resource["kind"] == "ConfigMap":
            resource["data"] = {name: yaml.safe_load(text) for name, text in resource["data"].items()}
            resource["metadata"].pop("labels", None)
        if resource["kind"] == "NetworkPolicy":
            resource["spec"]["egress"].sort(key=json.dumps)
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in plain}


@needs_helm
async def test_the_chart_makes_the_objects_of_the_kustomize_base() -> None:
    chart, base = by_name(await template(*CHOSEN)), by_name(await kustomized(KUBERNETES / "base"))
    identity = base["ConfigMap", "gateway-config"]["data"]["gateway.yaml"]["identity"]
    assert identity.pop("trusted_proxies") == ["the-networks-of-your-ingress"]
    assert chart["ConfigMap", "gateway-config"]["data"]["gateway.yaml"]["identity"].pop("trusted_proxies") == []
    assert chart == base


def test_the_chart_has_the_version_of_the_gateway() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert (chart["version"], chart["appVersion"], values["image"]["tag"]) == (version, version, version)


@needs_helm
async def test_the_values_in_the_readme_make_a_release(tmp_path: Path) -> None:
    (text,) = re.findall(
        r"cat > values.yaml <<'END'\n(.*?)\n    END", (KUBERNETES / "README.md").read_text(), re.DOTALL
    )
    (tmp_path / "values.yaml").write_text(textwrap.dedent(text))
    made = await template("--values", str(tmp_path / "values.yaml"))
    assert yaml.safe_load(the(made, "ConfigMap", "gateway-config")["data"]["gateway.yaml"])["identity"] == {
        "sources": ["client_address"],
        "trusted_proxies": ["10.244.0.0/16"],
        "hash_key_file": "secrets/hash-key",
    }
    egress = the(made, "NetworkPolicy")["spec"]["egress"]
    assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "orders"}}} in [rule["to"][0] for rule in egress]


@needs_helm
async def test_lint_finds_nothing() -> None:
    code, said = await run("helm", "lint", "--strict", CHART, *CHOSEN)
    assert code == 0, said
    assert "0 chart(s) failed" in said


@needs_helm
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "trusted_proxies"),
        ((*CHOSEN, "--set", "image.digest=sha256:123"), "digest"),
        ((*CHOSEN, "--set", "replicas=3"), "replicas"),
        ((*CHOSEN, "--set", "settings.listen=0.0.0.0:9999"), "listen"),
        ((*CHOSEN, "--set-json", 'networkPolicy.egress.redis={"ports":[{"port":6379}],"to":[]}'), "redis"),
        ((*CHOSEN, "--set", "service.type=ExternalName"), "type"),
    ],
    ids=["who is in front", "a digest", "a key that is not there", "a port", "an exit to everywhere", "a service"],
)
async def test_values_that_would_not_work_are_refused(arguments: tuple[str, ...], told: str) -> None:
    code, said = await run("helm", "template", "gateway", CHART, *arguments)
    assert code != 0
    assert "values don't meet the specifications of the schema" in said
    assert told in said


@needs_helm
async def test_a_release_of_another_name_refers_to_its_own_objects_only() -> None:
    made = await template(*CHOSEN, "--set", "serviceMonitor.enabled=true", release="edge")
    assert {resource["metadata"]["name"].partition("-")[0] for resource in made} == {"edge"}
    workload = the(made, "StatefulSet", "edge")["spec"]
    assert workload["serviceName"] == "edge-control"
    assert the(made, "HorizontalPodAutoscaler", "edge")["spec"]["scaleTargetRef"]["name"] == "edge"
    maps = {volume["configMap"]["name"] for volume in workload["template"]["spec"]["volumes"] if "configMap" in volume}
    assert maps == {"edge-config", "edge-rules"}
    labels = workload["template"]["metadata"]["labels"]
    assert labels == workload["selector"]["matchLabels"] == the(made, "Service", "edge")["spec"]["selector"]
    assert labels["app.kubernetes.io/instance"] == "edge"
    settings = yaml.safe_load(the(made, "ConfigMap", "edge-config")["data"]["gateway.yaml"])
    assert settings["control"]["hosts"][:2] == ["edge-control", "*.edge-control"]


@needs_helm
async def test_an_image_is_pinned_by_digest_and_its_tag_then_does_not_matter() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    made = await template(*CHOSEN, "--set", f"image.digest={digest}", "--set", "image.repository=example.test/gateway")
    (container,) = the(made, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"example.test/gateway@{digest}"


@needs_helm
async def test_a_change_of_rules_or_settings_is_a_rolling_update() -> None:
    def checksum(made: list[Resource]) -> str:
        found: str = the(made, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    sums = {
        checksum(await template(*CHOSEN, *more))
        for more in ((), ("--set", "settings.drain_time=20s"), ("--set-json", 'rules.more\\.yaml={"limits":[]}'))
    }
    assert len(sums) == 3


@needs_helm
async def test_prometheus_finds_the_control_port_of_all_pods_under_the_job_gateway() -> None:
    assert "ServiceMonitor" not in {resource["kind"] for resource in await template(*CHOSEN)}
    made = await template(*CHOSEN, "--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.labels.release=p")
    check_monitor(made, the(made, "ServiceMonitor"))
    assert the(made, "ServiceMonitor")["metadata"]["labels"]["release"] == "p"


async def test_the_component_of_kustomize_does_too(tmp_path: Path) -> None:
    for name in ("base", "components"):
        (tmp_path / name).symlink_to(KUBERNETES / name)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        "resources: [../base]\ncomponents: [../components/servicemonitor]\n"
    )
    made = await kustomized(tmp_path / "mine")
    check_monitor(made, the(made, "ServiceMonitor"))


def check_monitor(made: list[Resource], monitor: Resource) -> None:
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [each for each in made if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in selected] == ["gateway-control"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in selected[0]["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert selected[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "gateway"


@needs_helm
async def test_the_settings_and_rules_of_a_release_load(tmp_path: Path) -> None:
    values = {
        "settings": {"identity": {"trusted_proxies": ["10.0.0.0/8"]}, "store": {"max_buckets": 2_000_000}},
        "rules": {"all.yaml": None, "own.yaml": {"limits": [{"name": "all", "per": "user", "rate": "2000000/minute"}]}},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    made = await template("--values", str(tmp_path / "values.yaml"))
    (tmp_path / "gateway.yaml").write_text(the(made, "ConfigMap", "gateway-config")["data"]["gateway.yaml"])
    for folder in ("rules", "secrets"):
        (tmp_path / folder).mkdir()
    for name in ("redis-password", "hash-key", "admin-key"):
        (tmp_path / "secrets" / name).write_text("x" * 64)
    files = the(made, "ConfigMap", "gateway-rules")["data"]
    assert files.keys() == {"own.yaml"}
    for name, text in files.items():
        (tmp_path / "rules" / name).write_text(text)
    loaded = load(tmp_path / "gateway.yaml")
    assert loaded.settings.store.max_buckets == 2_000_000
    assert [limit.name for limit in loaded.rules.limits] == ["all"]


def schemas(folder: Path) -> str:
    """Kubernetes' JSON schemas, as kubeconform takes them: without names that it would look up in the network."""
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    *_, newest = sorted(
        (Path(spec.origin).parent / "kubernetes-json-schema").glob("v*-local-strict"),
        key=lambda folder: [int(number) for number in re.findall(r"\d+", folder.name)],
    )
    for file in newest.glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        schema.pop("$schema", None)
        schema.pop("$id", None)
        (folder / file.name).write_text(json.dumps(schema))
    return f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


@pytest.mark.needs("helm", "kubeconform")
async def test_kubernetes_knows_every_key_of_the_chart_and_of_the_example(tmp_path: Path) -> None:
    location = schemas(tmp_path)
    made = await template(*CHOSEN, "--set", "serviceMonitor.enabled=true")
    for name, resources in (("chart", made), ("example", await kustomized(KUBERNETES / "example"))):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(resources))
        # A ServiceMonitor is the Prometheus Operator's; Kubernetes has no schema of it.
        code, said = await run(
            "kubeconform", "-strict", "-summary", "-skip", "ServiceMonitor", "-schema-location", location, file
        )
        assert code == 0, said
        assert "Invalid: 0, Errors: 0" in said
    mistaken = tmp_path / "mistaken.yaml"
    mistaken.write_text(yaml.safe_dump_all(made).replace("maxUnavailable", "maxUnavailible"))
    code, said = await run("kubeconform", "-strict", "-skip", "ServiceMonitor", "-schema-location", location, mistaken)
    assert code == 1
    assert "maxUnavailible" in said
