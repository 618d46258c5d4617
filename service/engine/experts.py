"""L2Rec's experts that are resident on the engine's one frozen decoder (``models.networks.l2rec``)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.contract.errors import BundleError, ConfigError
from models.contract.l2rec import EXPERTS_CONFIG, EXPERTS_WEIGHTS, L2RecLayout
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_files import load_experts, read_experts_config
from service.engine.errors import AdapterError


class ExpertsStore:
    """Experts that are resident on one decoder: a :class:`service.engine.types.AdapterStore`.

    Args:
        decoder: the frozen one, of transformers.
        layout: how prompts are read.
        config: of the experts that the server was started for. Others may differ in what is theirs alone: the base
            model's answers, and what is sent to it, have to be the same for all.
        dtype: of what runs inside the decoder.
        budget_bytes: memory that all may take.
    """

    files = (EXPERTS_CONFIG, EXPERTS_WEIGHTS)

    def __init__(
        self, decoder: Any, layout: L2RecLayout, config: ExpertsConfig, dtype: torch.dtype, budget_bytes: int
    ) -> None:
        self._decoder, self._layout, self._config = decoder, layout, config
        self._dtype, self._budget_bytes = dtype, budget_bytes
        self._networks: Mapping[int, L2RecNetwork] = {}
        self.base = self._network(replace(config, rank=1, shared=1, experts=0, top_k=0))

    @property
    def size_bytes(self) -> int:
        """See there."""
        return sum(map(_bytes, self._networks.values()))

    def network(self, slot: int) -> L2RecNetwork:
        """The experts in a slot."""
        return self._networks[slot]

    @torch.inference_mode()
    def prepare(self, slot: int, directory: Path) -> Callable[[], None]:
        """See there."""
        try:
            config = read_experts_config(directory)
            self._check(directory, config)
            network = self._network(config)
            load_experts(network, directory)
        except BundleError as exc:
            raise AdapterError(str(exc)) from exc
        except ConfigError as exc:
            raise AdapterError(f"{directory / EXPERTS_CONFIG}: {exc}") from exc
        except (RuntimeError, MemoryError) as exc:
            raise AdapterError(f"{directory}: no memory for these experts: {exc}") from exc
        others = {taken: resident for taken, resident in self._networks.items() if taken != slot}
        needed = sum(map(_bytes, others.values())) + _bytes(network)
        if needed > self._budget_bytes:
            raise AdapterError(f"adapters would take {needed} bytes, the budget is {self._budget_bytes}: unload some")
        return partial(self._publish, {**others, slot: network})

    def _publish(self, networks: Mapping[int, L2RecNetwork]) -> None:
        self._networks = networks

    def _network(self, config: ExpertsConfig) -> L2RecNetwork:
        network = L2RecNetwork(self._decoder, self._layout, config).to(self._decoder.device).requires_grad_(False)
        network.blocks.to(self._dtype)
        return network

    def _check(self, directory: Path, config: ExpertsConfig) -> None:
        for name in ("user_size", "pooling", "views"):
            given, served = getattr(config, name), getattr(self._config, name)
            if given != served:
                raise AdapterError(f"{directory / EXPERTS_CONFIG}: {name} is {given}, this server's is {served}")


def _bytes(network: L2RecNetwork) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
