"""What every pod is held to: Kubernetes' restricted standard, a read-only root, limits, and an end in good time."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kustomize import OVERLAYS, TARGETS, Pod, build, named, pods

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
GRACE_SECONDS = 10  # service.gateway.server, for what is in flight

ALL = [
    pytest.param(target, name, id=f"{target}-{name}")
    for target, names in {
        "overlays/cpu": ["Deployment gateway", "StatefulSet redis", "StatefulSet engine"],
        "overlays/gpu": ["StatefulSet vllm"],
        "jobs/train": ["Job train"],
        "jobs/publish": ["Job publish"],
        "ray": ["RayJob train submitter", "RayJob train head", "RayJob train gpu"],
    }.items()
    for name in names
]


def pod_of(target: str, name: str) -> Pod:
    (pod,) = (pod for pod in pods(build(target)) if pod.name == name)
    return pod


def test_no_pod_is_left_out() -> None:
    known = {param.values[1] for param in ALL}
    assert {pod.name for target in TARGETS for pod in pods(build(target))} == known


@pytest.mark.parametrize(("target", "name"), ALL)
def test_pod_meets_the_restricted_standard(target: str, name: str) -> None:
    spec = pod_of(target, name).spec
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(
        volume.keys() - {"name"} <= {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
        for volume in spec.get("volumes", [])
    )
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("target", "name"), ALL)
def test_pod_gets_no_token_no_foreign_variables_and_limits(target: str, name: str) -> None:
    spec = pod_of(target, name).spec
    assert spec["automountServiceAccountToken"] is False
    # A service called localrec-… would bring variables that look like settings of the gateway.
    assert spec["enableServiceLinks"] is False
    for container in spec["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize(("target", "name"), ALL)
def test_image_is_pinned_and_one_that_compose_has_in_the_same_version(target: str, name: str) -> None:
    images = {service["image"] for service in COMPOSE.values()}
    for container in pod_of(target, name).spec["containers"]:
        image = container["image"].replace("trainer-ray:", "trainer:")
        assert image in images
        assert re.search(r":\d+\.\d+\.\d+", image)
        if image.startswith("localrec-"):
            assert image.endswith(f":{VERSION}")


@pytest.mark.parametrize(("target", "name"), [each for each in ALL if each.values[1].split()[0] != "Job"])
def test_server_is_probed_on_a_port_that_it_has(target: str, name: str) -> None:
    if name.endswith("submitter"):
        pytest.skip("it serves nothing")
    for container in pod_of(target, name).spec["containers"]:
        assert {"readinessProbe", "livenessProbe"} <= container.keys()
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind, {})
            assert probe.get("httpGet", {"port": next(iter(ports), None)})["port"] in {*ports, None}
        if not name.startswith("RayJob"):
            assert container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"] >= 30


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_gateway_has_time_to_drain(overlay: str) -> None:
    resources = build(overlay)
    drain = float(named(resources, "ConfigMap", "gateway")["data"]["LOCALREC_HTTP__DRAIN_S"])
    gateway = pod_of(overlay, "Deployment gateway").spec
    (container,) = gateway["containers"]
    probe = container["readinessProbe"]
    assert gateway["terminationGracePeriodSeconds"] >= drain + GRACE_SECONDS + 5
    assert drain > 2 * probe["periodSeconds"] * probe["failureThreshold"]
    assert "lifecycle" not in container


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_budgets_spread_and_autoscaler_select_what_is_there(overlay: str) -> None:
    resources = build(overlay)
    labels = [pod.labels for pod in pods(resources)]
    for budget in (each["spec"] for each in resources if each["kind"] == "PodDisruptionBudget"):
        assert any(budget["selector"]["matchLabels"].items() <= each.items() for each in labels)
        assert budget["maxUnavailable"] == 1
    for pod in pods(resources):
        for spread in pod.spec.get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() <= pod.labels.items()
    for service in (each for each in resources if each["kind"] == "Service"):
        assert any(service["spec"]["selector"].items() <= each.items() for each in labels)
    scaler = named(resources, "HorizontalPodAutoscaler", "gateway")["spec"]
    assert scaler["minReplicas"] >= 2
    target = named(resources, scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"])
    assert "replicas" not in target["spec"]  # an apply would take back what the autoscaler did


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_bundles_are_written_by_the_trainer_alone(overlay: str) -> None:
    for pod in pods(build(overlay) + build("jobs/train") + build("jobs/publish")):
        for container in pod.spec["containers"]:
            for mount in container["volumeMounts"]:
                if mount["mountPath"] == "/bundles":
                    assert mount.get("readOnly", False) == (pod.name != "Job train")
