"""The manifests as a cluster would get them: built by the real kustomize, which every newer kubectl has in it."""

import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy/k8s"
OVERLAYS = ("overlays/cpu", "overlays/gpu")
# What is applied as it is. Components and secrets need a file of the operator's.
TARGETS = (*OVERLAYS, "jobs/train", "jobs/publish", "ray")
OLDEST = 5
MISSING = "kustomize 5 or newer is needed: kubectl 1.27 or newer, or kustomize itself, on the PATH"
WORKLOADS = ("Deployment", "StatefulSet", "Job")

Resource = dict[str, Any]


class Pod(NamedTuple):
    """A pod's template and what it is called in messages."""

    name: str
    template: Resource

    @property
    def spec(self) -> Resource:
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]


def build(target: str | Path) -> list[Resource]:
    """Resources of a kustomization: a directory below deploy/k8s, or any by its path. Skips where there is no tool."""
    return list(_build(K8S / target))


@functools.cache
def _build(directory: Path) -> tuple[Resource, ...]:
    result = subprocess.run([*_tool(), str(directory)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ValueError(f"{directory}: {result.stderr.strip()}")
    return tuple(yaml.safe_load_all(result.stdout))


@functools.cache
def _tool() -> tuple[str, ...]:
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    if shutil.which("kubectl") and _kubectls_version() >= OLDEST:
        return ("kubectl", "kustomize")
    pytest.skip(MISSING)


def _kubectls_version() -> int:
    answer = subprocess.run(
        ["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True
    )
    return int(json.loads(answer.stdout).get("kustomizeVersion", "v0").lstrip("v").split(".")[0])


def pods(resources: list[Resource]) -> Iterator[Pod]:
    """Every pod that the resources make."""
    for resource in resources:
        name = f"{resource['kind']} {resource['metadata']['name']}"
        if resource["kind"] in WORKLOADS:
            yield Pod(name, resource["spec"]["template"])
        elif resource["kind"] == "RayJob":
            for part, template in rays_templates(resource):
                yield Pod(f"{name} {part}", template)


def rays_templates(job: Resource) -> Iterator[tuple[str, Resource]]:
    """Pods' templates in a RayJob of KubeRay."""
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    yield "submitter", spec["submitterPodTemplate"]
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def named(resources: list[Resource], kind: str, name: str) -> Resource:
    """The one of that kind whose name is ``name``, or begins so where kustomize has added a hash."""
    (found,) = (
        each
        for each in resources
        if each["kind"] == kind and (each["metadata"]["name"] == name or each["metadata"]["name"][:-11] == name)
    )
    return found
