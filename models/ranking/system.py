"""All that ranking needs of a run or a bundle: the CF model, the communities, the language models' directories."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from models.contract.affinity import Kernel
from models.contract.bundle import CF_MODEL, CHECKPOINT, COMMUNITIES, POPULARITY, Bundle, community_adapter
from models.contract.cf import CFModel
from models.contract.profile import build_profile
from models.contract.specs import Form
from models.contract.types import Array, Floats, Profile
from models.types import Sequences


@dataclass(frozen=True)
class LocalSystem:
    """All that the `local` pipeline needs, from a run or a bundle on disk.

    Args:
        cf: the global CF model.
        anchors: (q, d).
        bandwidth, kernel: h and K of equation 2.
        popularity: (n_items,).
        checkpoint: directory of the compiled base model.
        adapters: PEFT directories by name, ``global`` and ``c00`` ….
        history_length: items that a prompt holds.
        form: of the local models.
        items: (n_items, q) bool, the items V_j of each community; None: all items belong to all.
    """

    cf: CFModel
    anchors: Floats
    bandwidth: float
    kernel: Kernel
    popularity: Floats
    checkpoint: Path
    adapters: Mapping[str, Path]
    history_length: int
    form: Form = "item-token"
    items: Array | None = None

    @property
    def communities(self) -> tuple[str, ...]:
        """Names of the communities' adapters, in the order of their numbers."""
        return tuple(community_adapter(number) for number in range(len(self.anchors)))

    def own_items(self, adapter: str) -> Array | None:
        """(n_items,) bool, the items that an adapter may rank; None: all."""
        if self.items is None or adapter not in self.communities:
            return None
        return self.items[:, self.communities.index(adapter)]

    def profiles(self, histories: Sequences, accuracies: Floats | None = None) -> list[Profile]:
        """Profiles of n histories: as published with ``accuracies`` (n, q), as the gateway folds them in without."""
        return [
            build_profile(
                self.cf,
                self.anchors,
                self.bandwidth,
                self.kernel,
                histories[row],
                None if accuracies is None else accuracies[row],
            )
            for row in range(len(histories))
        ]


def open_system(bundle: Bundle) -> LocalSystem:
    """What a bundle holds: exactly what is served."""
    communities = load_file(bundle.path(COMMUNITIES))
    return LocalSystem(
        cf=CFModel.load(bundle.path(CF_MODEL)),
        anchors=communities["anchors"],
        bandwidth=bundle.manifest.bandwidth,
        kernel=bundle.manifest.kernel,
        popularity=np.load(bundle.path(POPULARITY), allow_pickle=False),
        checkpoint=bundle.path(CHECKPOINT),
        adapters={name: bundle.adapter_path(name) for name in bundle.manifest.model.adapters},
        history_length=bundle.manifest.model.history_length,
        form=bundle.manifest.model.form,
        items=communities.get("items"),
    )
