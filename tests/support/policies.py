"""Who may talk to whom by the NetworkPolicies, as Kubernetes reads them: what some policy selects is closed, but for
what some policy opens, on both ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Policy = dict[str, Any]


class Peer(NamedTuple):
    """A pod, by its labels and those of its namespace."""

    labels: Mapping[str, str]
    namespace: Mapping[str, str] = {"kubernetes.io/metadata.name": "localrec"}


HOME = Peer({}).namespace


def may(policies: Sequence[Policy], source: Peer, target: Peer, port: int) -> bool:
    """Whether ``source`` reaches the TCP ``port`` of ``target``. Policies are those of the namespace ``localrec``."""
    return _open(policies, "Egress", source, target, port) and _open(policies, "Ingress", target, source, port)


def _open(policies: Sequence[Policy], direction: str, here: Peer, there: Peer, port: int) -> bool:
    if here.namespace != HOME:
        return True  # its own namespace's to say
    selecting = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], here.labels)
    ]
    rules = [rule for spec in selecting for rule in spec.get(direction.lower(), [])]
    return not selecting or any(_allows(rule, direction, there, port) for rule in rules)


def _allows(rule: Mapping[str, Any], direction: str, there: Peer, port: int) -> bool:
    ports = [each["port"] for each in rule.get("ports", []) if each["protocol"] == "TCP"]
    peers = rule.get("from" if direction == "Ingress" else "to")
    if "ports" in rule and port not in ports:
        return False
    return peers is None or any(_is(peer, there) for peer in peers)


def _is(peer: Mapping[str, Any], there: Peer) -> bool:
    if "ipBlock" in peer:
        return False  # of addresses, which pods here have none of
    if "namespaceSelector" not in peer:
        return there.namespace == HOME and _selects(peer["podSelector"], there.labels)
    return _selects(peer["namespaceSelector"], there.namespace) and _selects(peer.get("podSelector", {}), there.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    equal = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    expressions = selector.get("matchExpressions", [])
    if any(each["operator"] != "In" for each in expressions):
        raise NotImplementedError("operators other than In")
    return equal and all(labels.get(each["key"]) in each["values"] for each in expressions)
