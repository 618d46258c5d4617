from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[3]
MANIFESTS = sorted((ROOT / "deploy/k8s").glob("*.yaml"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def resources(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def test_there_are_manifests() -> None:
    assert [path.name for path in MANIFESTS] == ["vllm.yaml"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifest_is_valid(path: Path) -> None:
    for resource in resources(path):
        kubernetes_validate.validate(resource, "1.34", strict=True)


def test_vllm_is_started_as_by_compose() -> None:
    """One image, whose entrypoint takes the flags from the bundle's manifest, and no flag beside it."""
    (workload,) = (each for each in resources(ROOT / "deploy/k8s/vllm.yaml") if each["kind"] == "StatefulSet")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["image"] == COMPOSE["vllm"]["image"]
    assert not {"command", "args"} & container.keys()
    assert "command" not in COMPOSE["vllm"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/bundles", "/home/vllm/.cache/vllm"}
