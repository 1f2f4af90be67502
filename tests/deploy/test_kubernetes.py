"""`deploy/kubernetes`: what a cluster is asked for, and the settings that a pod gets."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.diagnostic import ConfigError
from gateway.config.loader import load
from tests.kit.process import ROOT, run

KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE, EXAMPLE = KUBERNETES / "base", KUBERNETES / "example"

Resource = dict[str, Any]
RESOURCES: list[Resource] = [
    document
    for folder in (BASE, EXAMPLE)
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    if name.endswith(".yaml")
    for document in yaml.safe_load_all((folder / name).read_text())
]
WORKLOADS = [resource for resource in RESOURCES if resource["kind"] == "StatefulSet"]

each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload["metadata"]["name"])


def the(kind: str, name: str = "gateway") -> Any:
    """The `spec` of a resource."""
    (found,) = [each for each in RESOURCES if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found["spec"]


def pod(workload: Resource) -> tuple[Any, Any]:
    """The `spec` of a pod, and its only container."""
    spec = workload["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def gateway_pod() -> tuple[Any, Any]:
    return pod({"spec": the("StatefulSet")})


def test_every_file_of_the_base_is_used() -> None:
    used = set(yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"])
    assert used == {file.name for file in BASE.glob("*.yaml")} - {"kustomization.yaml", "gateway.yaml"}


@each_workload
def test_a_pod_has_no_rights(workload: Resource) -> None:
    spec, container = pod(workload)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@each_workload
def test_a_pod_is_bounded_and_probed(workload: Resource) -> None:
    _, container = pod(workload)
    assert container["resources"].keys() == {"requests", "limits"}
    assert all(bounds.keys() == {"cpu", "memory"} for bounds in container["resources"].values())
    assert {"livenessProbe", "readinessProbe"} <= container.keys()


@each_workload
def test_secrets_are_there_by_reference_alone(workload: Resource) -> None:
    spec, container = pod(workload)
    assert not [resource for resource in RESOURCES if resource["kind"] == "Secret"]
    # Not in the environment, where every child and every crash report has them.
    assert "env" not in container
    assert "envFrom" not in container
    (secret,) = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert secret["secretName"] == "gateway-secrets"
    assert secret["defaultMode"] == 0o440
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_the_gateway_runs_as_the_user_of_its_image() -> None:
    spec, container = gateway_pod()
    uid = spec["securityContext"]["runAsUser"]
    assert f"USER {uid}:{uid}" in (ROOT / "docker" / "Dockerfile").read_text()
    assert container["image"].startswith("rate-limiting-gateway:")


def test_probes_ask_the_control_plane() -> None:
    _, container = gateway_pod()
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/healthz", "port": "control"},
        "liveness": {"path": "/healthz", "port": "control"},
        "readiness": {"path": "/readyz", "port": "control"},
    }


def test_clients_are_led_to_the_public_port_alone() -> None:
    _, container = gateway_pod()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = yaml.safe_load((BASE / "gateway.yaml").read_text())
    assert settings["listen"] == f"0.0.0.0:{ports['http']}"
    assert settings["control"]["listen"] == f"0.0.0.0:{ports['control']}"
    assert [port["targetPort"] for port in the("Service")["ports"]] == ["http"]
    assert the("Service", "gateway-control")["clusterIP"] == "None"
    assert the("StatefulSet")["serviceName"] == "gateway-control"


def test_the_network_lets_through_what_is_needed_and_nothing_else() -> None:
    policy = the("NetworkPolicy")
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    public, control = policy["ingress"]
    assert [port["port"] for port in public["ports"]] == ["http"]
    assert [port["port"] for port in control["ports"]] == ["control"]
    assert control["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert all(rule["to"] for rule in policy["egress"])
    settings = yaml.safe_load((BASE / "gateway.yaml").read_text())
    urls = [settings["store"]["url"].removesuffix("/0"), *settings["upstreams"]["default"]["urls"]]
    # DNS; and what the base does not use, but an installation may: PostgreSQL and a collector of traces.
    needed = {int(url.rpartition(":")[2]) for url in urls} | {53, 5432, 4318}
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == needed
    (redis,) = the("NetworkPolicy", "redis")["ingress"]
    assert redis["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}]


def test_size_and_disruptions_are_of_the_gateway() -> None:
    scaler, budget = the("HorizontalPodAutoscaler"), the("PodDisruptionBudget")
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "gateway"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in the("StatefulSet")
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == the("StatefulSet")["selector"] == the("NetworkPolicy")["podSelector"] | {}
    assert budget["selector"]["matchLabels"] == the("StatefulSet")["template"]["metadata"]["labels"]


@pytest.mark.parametrize("rules", [BASE / "rules" / "all.yaml", EXAMPLE / "orders.yaml"], ids=lambda file: file.name)
def test_settings_load_as_a_pod_has_them(rules: Path, tmp_path: Path) -> None:
    spec, container = gateway_pod()
    # A volume of a cluster: files are links into a folder that can be swapped at once.
    etc = tmp_path / "etc" / "gateway"
    for name, files in {
        "rules": {rules.name: rules.read_text()},
        "secrets": dict.fromkeys(("redis-password", "hash-key", "admin-key"), "x" * 64),
    }.items():
        data = etc / name / "..2026_11_23"
        data.mkdir(parents=True)
        (etc / name / "..data").symlink_to(data.name)
        for file, text in files.items():
            (data / file).write_text(text)
            (etc / name / file).symlink_to(f"..data/{file}")
    (etc / "gateway.yaml").write_text((EXAMPLE / "gateway.yaml").read_text())

    loaded = load(etc / "gateway.yaml")
    assert ["control plane listens on 0.0.0.0" in str(warning) for warning in loaded.warnings] == [True]
    assert loaded.rules.limits
    settings = loaded.settings
    assert settings.control.admin is not None
    assert settings.workers == 1

    mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounted.keys() == {f"/etc/gateway/{name}" for name in ("gateway.yaml", "rules", "secrets")} | {
        str(settings.control.state),
        "/tmp",
    }
    writable = {path: mount["name"] for path, mount in mounted.items() if not mount.get("readOnly")}
    assert writable == {str(settings.control.state): "state", "/tmp": "meeting"}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["meeting"]["emptyDir"]["medium"] == "Memory"
    claims = {claim["metadata"]["name"] for claim in the("StatefulSet")["volumeClaimTemplates"]}
    assert {mount["name"] for mount in mounted.values()} == {volume["name"] for volume in spec["volumes"]} | claims
    assert settings.drain_delay == 5.0
    assert spec["terminationGracePeriodSeconds"] > settings.drain_delay + settings.drain_time + 10


def test_the_base_does_not_start_before_it_is_said_who_is_in_front(tmp_path: Path) -> None:
    base, example = ((folder / "gateway.yaml").read_text() for folder in (BASE, EXAMPLE))
    (tmp_path / "secrets").mkdir()
    for name in ("redis-password", "hash-key", "admin-key"):
        (tmp_path / "secrets" / name).write_text("x" * 64)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text((BASE / "rules" / "all.yaml").read_text())
    file = tmp_path / "gateway.yaml"
    file.write_text(base)
    with pytest.raises(ConfigError, match=r"identity\.trusted_proxies") as refused:
        load(file)
    assert len(refused.value.problems) == 1
    file.write_text(base.replace("[the-networks-of-your-ingress]", "[]"))
    load(file)
    chosen = [line for line in example.splitlines() if not line.lstrip().startswith("#")]
    template = [line for line in base.splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in chosen if line not in template] == ["  trusted_proxies: [10.244.0.0/16]"]


def test_redis_of_the_example_is_that_of_compose() -> None:
    def settings(file: Path) -> list[str]:
        return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]

    assert settings(EXAMPLE / "redis.conf") == settings(ROOT / "docker" / "redis.conf")
    assert "maxmemory-policy volatile-lru" in settings(EXAMPLE / "redis.conf")
    assert pod({"spec": the("StatefulSet", "redis")})[1]["resources"]["limits"]["memory"] == "384Mi"


async def test_kustomize_puts_it_together() -> None:
    code, said = await run(Path(sys.executable).with_name("kubectl"), "kustomize", EXAMPLE)
    assert code == 0, said
    made = list(yaml.safe_load_all(said))
    assert {resource["metadata"]["namespace"] for resource in made} == {"gateway"}
    maps = {resource["metadata"]["name"]: resource["data"] for resource in made if resource["kind"] == "ConfigMap"}
    # What pods mount are these very ConfigMaps, and the example's rules have taken the place of the base's.
    text = json.dumps([resource for resource in made if resource["kind"] == "StatefulSet"])
    assert all(f'"{name}"' in text for name in maps)
    (rules,) = [data for name, data in maps.items() if name.startswith("gateway-rules-")]
    assert rules.keys() == {"orders.yaml"}
