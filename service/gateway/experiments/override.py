"""``X-LocalRec-Variants: experiment=variant, …``: a request that asks for variants, for testing."""

from collections.abc import Mapping, Sequence

from service.gateway.experiments.arms import Arm, Layer

OVERRIDE_HEADER = "X-LocalRec-Variants"
MAX_LENGTH = 2_000


class OverrideError(ValueError):
    """The header is malformed, or names what is not there. The message says what is expected."""


def asked_arms(header: str, layers: Sequence[Layer]) -> Mapping[str, Arm]:
    """The variant that is asked for in each layer, by the layer's name. Raises OverrideError."""
    places = {experiment.name: (layer, experiment) for layer in layers for experiment in layer.experiments}
    found: dict[str, Arm] = {}
    for name, variant in _pairs(header):
        if name not in places:
            raise OverrideError(f"unknown experiment {name!r}; expected one of {', '.join(places) or '(none)'}")
        layer, experiment = places[name]
        if variant not in experiment.forced:
            raise OverrideError(
                f"unknown variant {variant!r} of {name}; expected one of {', '.join(experiment.forced)}"
            )
        if layer.name in found:
            raise OverrideError(f"{name} and {found[layer.name].experiment} exclude each other: both in {layer.name}")
        found[layer.name] = experiment.forced[variant]
    return found


def _pairs(header: str) -> list[tuple[str, str]]:
    if len(header) > MAX_LENGTH:
        raise OverrideError(f"expected at most {MAX_LENGTH} characters, got {len(header)}")
    pairs = []
    for part in header.split(","):
        name, equals, variant = (piece.strip() for piece in part.partition("="))
        if not (name and equals and variant):
            raise OverrideError(f"expected experiment=variant, separated by commas, got {part.strip()!r}")
        pairs.append((name, variant))
    return pairs
