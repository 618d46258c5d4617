"""Every manifest, as kustomize builds it, against the schemas of the oldest and the newest Kubernetes that we know."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.kustomize import K8S, OVERLAYS, TARGETS, build, named, pods, rays_templates

ROOT = Path(__file__).parents[3]
VERSIONS = ("1.31", "1.37")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# Fields of KubeRay's v1 resources that are ours to set, and those without which it refuses them.
RAY_JOB = {
    *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "entrypoint", "jobId"),
    *("shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "submissionMode", "suspend", "runtimeEnvYAML"),
}
RAY_CLUSTER = {"headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions"}
RAY_HEAD = {"rayStartParams", "template"}
RAY_GROUP = {*RAY_HEAD, "groupName", "replicas", "minReplicas", "maxReplicas"}
# The Prometheus operator's resources have no schema here; ports and rules are checked below.
WITHOUT_SCHEMA = {"RayJob", "PodMonitor", "PrometheusRule"}


def check(resource: dict[str, Any], version: str) -> None:
    if resource["kind"] not in WITHOUT_SCHEMA:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_manifests_are_valid(target: str, version: str) -> None:
    for resource in build(target):
        check(resource, version)


def test_a_wrong_field_is_no_valid_manifest() -> None:
    (deployment,) = (each for each in build("overlays/cpu") if each["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        check(wrong, VERSIONS[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_rayjob_is_one_that_kuberay_takes(version: str) -> None:
    job = named(build("ray"), "RayJob", "train")
    cluster = job["spec"]["rayClusterSpec"]
    assert job["apiVersion"] == "ray.io/v1"
    assert job["spec"].keys() <= RAY_JOB
    assert {"headGroupSpec"} <= cluster.keys() <= RAY_CLUSTER
    assert cluster["headGroupSpec"].keys() == RAY_HEAD
    assert [group.keys() for group in cluster["workerGroupSpecs"]] == [RAY_GROUP]
    for part, template in rays_templates(job):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": part}, "template": template}
        kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("component", ["external-redis", "prometheus-operator", "experiments", "tracing"])
def test_component_fits_each_overlay(component: str, overlay: str, tmp_path: Path) -> None:
    resources = with_component(component, overlay, tmp_path)
    for resource in resources:
        check(resource, VERSIONS[0])
    kinds = {(each["kind"], each["metadata"]["name"]) for each in resources}
    if component == "external-redis":
        assert not {kind for kind, name in kinds if name == "redis"}
        assert ("NetworkPolicy", "external-redis") in kinds
    if component == "tracing":
        endpoint = named(resources, "ConfigMap", "gateway")["data"]["LOCALREC_TRACING__OTLP_ENDPOINT"]
        args = [arg for pod in pods(resources) for c in pod.spec["containers"] for arg in c.get("args", [])]
        assert (f"--otlp-endpoint={endpoint}" in args) == (overlay == "overlays/cpu")
    if component == "prometheus-operator":
        monitor = named(resources, "PodMonitor", "localrec")["spec"]
        (selector,) = monitor["selector"]["matchExpressions"]
        chosen = [pod for pod in pods(resources) if pod.labels.get(selector["key"]) in selector["values"]]
        assert len(chosen) == 2  # gateway and worker
        for pod in chosen:
            ports = {port["name"] for container in pod.spec["containers"] for port in container["ports"]}
            assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports


def test_operators_rules_are_prometheus_own() -> None:
    """Written by scripts/kubernetes-rules; promtool tests the files that they come from."""
    rule = yaml.safe_load((K8S / "components/prometheus-operator/rules.yaml").read_text())
    files = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    assert rule["spec"]["groups"] == groups, "run scripts/kubernetes-rules"


def with_component(component: str, overlay: str, directory: Path) -> list[dict[str, Any]]:
    """What an operator's own kustomization over an overlay gives."""
    shutil.copytree(K8S, directory / "k8s")
    shutil.copy(ROOT / "deploy/experiments.toml", directory / "k8s/components/experiments")
    own = directory / "k8s/own"
    own.mkdir()
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "localrec",
        "resources": [f"../{overlay}"],
        "components": [f"../components/{component}"],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return build(own)


def test_vllm_is_started_as_by_compose() -> None:
    """One image, whose entrypoint takes the flags from the bundle's manifest, and no flag beside it."""
    (pod,) = (pod for pod in pods(build("overlays/gpu")) if pod.name == "StatefulSet vllm")
    (container,) = pod.spec["containers"]
    assert container["image"] == COMPOSE["vllm"]["image"]
    assert not {"command", "args"} & container.keys()
    assert "command" not in COMPOSE["vllm"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/bundles", "/home/vllm", "/dev/shm"}  # noqa: S108


@pytest.mark.parametrize("target", ["jobs/train", "ray"])
def test_training_starts_from_the_example_of_a_run(target: str) -> None:
    """kustomize reads no file above a kustomization, so that the example is there twice more."""
    assert (K8S / target / "run.toml").read_bytes() == (ROOT / "deploy/run.toml").read_bytes()


@pytest.mark.parametrize("target", TARGETS)
def test_what_pods_refer_to_is_there(target: str) -> None:
    """Volumes and settings by name. Claims of the bundles and secrets are there before jobs are."""
    resources = build(target)
    config_maps = {each["metadata"]["name"] for each in resources if each["kind"] == "ConfigMap"}
    claims = {each["metadata"]["name"] for each in resources if each["kind"] == "PersistentVolumeClaim"}
    for pod in pods(resources):
        volumes = pod.spec.get("volumes", [])
        mounted = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
        given = [each["configMapRef"]["name"] for c in pod.spec["containers"] for each in c.get("envFrom", [])]
        assert {*mounted, *given} <= config_maps
        claimed = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
        assert claimed <= claims | {"bundles"}
