"""Who reaches whom, by the network policies."""

import pytest
import yaml
from support.kustomize import K8S, OVERLAYS, Pod, build, pods
from support.policies import HOME, Peer, may

PROMETHEUS = Peer({"app.kubernetes.io/name": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"})
COLLECTOR = Peer({"app.kubernetes.io/name": "opentelemetry-collector"}, {"kubernetes.io/metadata.name": "monitoring"})
SHOP = Peer({}, {"kubernetes.io/metadata.name": "shop", "localrec-client": "true"})
STRANGER = Peer({}, {"kubernetes.io/metadata.name": "elsewhere"})
NEIGHBOUR = Peer({}, HOME)


def peers(*targets: str) -> dict[str, Peer]:
    found: list[Pod] = [pod for target in targets for pod in pods(build(target))]
    return {pod.name.split(maxsplit=1)[1]: Peer(pod.labels) for pod in found}


def policies(*targets: str) -> list[dict[str, object]]:
    return [each for target in targets for each in build(target) if each["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_must_pass_passes_and_nothing_else(overlay: str) -> None:
    rules = policies(overlay)
    worker = overlay.replace("overlays/cpu", "engine").replace("overlays/gpu", "vllm")
    known = peers(overlay) | {"prometheus": PROMETHEUS, "shop": SHOP, "stranger": STRANGER, "neighbour": NEIGHBOUR}
    known["collector"] = COLLECTOR
    ports = {"gateway": (8080, 8081), "redis": (6379,), worker: (8001,), "collector": (4318,)}
    passes = {
        (source, target, port)
        for source, peer in known.items()
        for target, opened in ports.items()
        for port in opened
        if source != target and may(rules, peer, known[target], port)
    }
    here = {
        ("shop", "gateway", 8080),
        ("prometheus", "gateway", 8080),
        ("prometheus", worker, 8001),
        ("gateway", "redis", 6379),
        ("gateway", worker, 8001),
    }
    outside = {(source, "collector", 4318) for source in ("prometheus", "shop", "stranger")}  # not ours to close
    assert passes == here | outside


def test_traces_pass_where_they_are_switched_on() -> None:
    (policy,) = yaml.safe_load_all((K8S / "components/tracing/network.yaml").read_text())
    rules = [*policies("overlays/cpu"), policy]
    known = peers("overlays/cpu")
    assert may(rules, known["gateway"], COLLECTOR, 4318)
    assert may(rules, known["engine"], COLLECTOR, 4318)
    assert not may(rules, known["redis"], COLLECTOR, 4318)


def test_jobs_reach_what_they_need() -> None:
    rules = policies("overlays/cpu", "jobs/train", "jobs/publish")
    known = peers("overlays/cpu", "jobs/train", "jobs/publish")
    outside = STRANGER
    assert may(rules, known["publish"], known["redis"], 6379)
    assert not may(rules, known["publish"], outside, 443)
    assert may(rules, known["train"], outside, 443)  # a hub
    assert not may(rules, known["train"], known["redis"], 6379)
    assert not may(rules, known["engine"], outside, 443)


def test_ray_is_for_itself() -> None:
    rules = policies("overlays/cpu", "ray")
    known = peers("overlays/cpu", "ray")
    head, worker, submitter = known["train head"], known["train gpu"], known["train submitter"]
    operator = Peer({"app.kubernetes.io/name": "kuberay-operator"}, {"kubernetes.io/metadata.name": "kuberay"})
    assert may(rules, worker, head, 6379)
    assert may(rules, head, worker, 10002)
    assert may(rules, submitter, head, 8265)
    assert may(rules, operator, head, 8265)
    assert not may(rules, STRANGER, head, 8265)
    assert not may(rules, submitter, head, 6379)
    assert not may(rules, worker, known["redis"], 6379)
