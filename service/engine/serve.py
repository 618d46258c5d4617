"""Starting the engine: from a bundle, or from a bare checkpoint, to a process that listens."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
import uvicorn

from models.contract import l2rec
from models.contract.bundle import MANIFEST, verify_bundle
from models.contract.errors import BundleError
from models.contract.specs import CoLLMSpec, Part
from service.engine.app import EngineSettings, create_app
from service.engine.device import DType
from service.engine.l2rec import L2RecModel
from service.engine.model import LanguageModel, ModelSettings
from service.engine.types import ServedNetwork
from service.tracing import start_tracing

DEFAULT_LORA_RANK = 16
SHUTDOWN_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class ServeOptions:
    """What an operator can choose.

    Args:
        model: which of the bundle's models.
        device: a torch device, or ``auto``: CUDA where there is one.
        dtype: ``auto`` is float32 on a CPU and bfloat16 elsewhere.
        threads: of torch; default: one core less than there are, see :func:`default_threads`.
        max_batch: calls (a prompt under an adapter) in one forward pass at most.
        max_queue: calls that wait at most; what comes then is answered 503 at once, a request of more calls 400.
        adapter_budget_mib: memory that adapters may take, in MiB; a load beyond it is refused.
        head_index_items: size of a vocabulary from which on an index is searched for the best tokens, on a CPU.
        otlp_endpoint: of a collector of OpenTelemetry traces over HTTP, without a path; None: there are no traces.
        trace_sample: share of the requests without a trace of their caller that begin one; the gateway begins its own.
    """

    model: Part = "local"
    device: str = "auto"
    dtype: DType = "auto"
    threads: int | None = None
    max_batch: int = 64
    max_queue: int = 1024
    adapter_budget_mib: int = 2048
    head_index_items: int = 200_000
    otlp_endpoint: str | None = None
    trace_sample: float = 0.0


@dataclass(frozen=True)
class _Source:
    """What a directory says about the model in it.

    Args:
        name: of the base model.
        checkpoint: its directory.
        lora_rank: of adapters on the layers.
        table_rank: of adapters on the vocabulary.
        max_model_tokens: None where the checkpoint decides.
        answer_token: whose logit scores a prompt; None where the model is none that classifies.
        experts: directory of L2Rec's experts; None where the model is another.
    """

    name: str
    checkpoint: Path
    lora_rank: int
    table_rank: int
    max_model_tokens: int | None
    answer_token: int | None = None
    experts: Path | None = None


def serve(directory: Path, host: str, port: int, options: ServeOptions | None = None) -> None:
    """Serve a bundle, or a checkpoint without one, until SIGTERM or SIGINT; what is in flight is answered first.

    The base model is named by its base id in the bundle, or as the checkpoint's directory. Adapters must lie beside it.

    Raises BundleError where the directory holds nothing that can be served, or a bundle without this model, and
    MissingExtraError where traces are wanted without OpenTelemetry.
    """
    options = options or ServeOptions()
    endpoint, sample = options.otlp_endpoint, options.trace_sample
    tracing = start_tracing(endpoint, "localrec-engine", sample) if endpoint else None
    torch.set_num_threads(options.threads or default_threads())
    source = _source(directory, options.model)
    model = _load(source, options)
    app = create_app(model, _engine_settings(directory, source, model, options), tracing)
    config = uvicorn.Config(
        app, host, port, access_log=False, log_level="info", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS
    )
    # uvicorn shuts down in order on these signals, then raises them again: ignored by then, so that the exit code is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    uvicorn.Server(config).run()


def default_threads() -> int:
    """One core less than there are, for HTTP: a torch thread that has to share its core holds up all the others."""
    return max((os.cpu_count() or 1) - 1, 1)


def _source(directory: Path, part: Part) -> _Source:
    if not directory.is_dir():  # else the name would be looked for on a model hub
        raise BundleError(f"{directory}: no such directory; expected a bundle, or a checkpoint")
    if not (directory / MANIFEST).exists():
        if part != "local":
            raise BundleError(f"{directory}: no {MANIFEST}: only bundles have a {part} model")
        return _Source(directory.resolve().name, directory, DEFAULT_LORA_RANK, 0, None)
    served = verify_bundle(directory).served(part)
    spec = served.spec
    return _Source(
        served.base_id,
        served.checkpoint,
        served.lora_rank,
        served.table_rank,
        served.max_tokens,
        spec.answer_token if isinstance(spec, CoLLMSpec) else None,
        served.adapter_path(part) if part == l2rec.PART else None,
    )


def _load(source: _Source, options: ServeOptions) -> ServedNetwork:
    settings = ModelSettings(
        lora_rank=source.lora_rank,
        table_rank=source.table_rank,
        adapter_budget_bytes=options.adapter_budget_mib << 20,
        device=options.device,
        dtype=options.dtype,
        head_index_items=options.head_index_items,
        answer_token=source.answer_token,
    )
    if source.experts is not None:
        return L2RecModel.load(source.checkpoint, source.experts, settings)
    return LanguageModel.load(source.checkpoint, settings)


def _engine_settings(directory: Path, source: _Source, model: ServedNetwork, options: ServeOptions) -> EngineSettings:
    return EngineSettings(
        model_id=source.name,
        checkpoint=source.checkpoint,
        adapter_root=directory.resolve().parent,  # adapters of several bundles can be resident
        max_model_tokens=min(source.max_model_tokens or model.max_tokens, model.max_tokens),
        max_batch=options.max_batch,
        max_queue=options.max_queue,
    )
