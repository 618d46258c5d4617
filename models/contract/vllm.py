"""How a vLLM server is started for a bundle's model: flags and environment, the same for CUDA and for a CPU.

The server is a stock one; for HatLLM our plugin, :mod:`service.vllm_plugin`, is on its path. For shell scripts:

    python -m models.contract.vllm BUNDLE_DIR --device cpu --port 8001      one argument a line
    python -m models.contract.vllm --device cpu --environment               one NAME=VALUE a line
"""

import argparse
import json
import os
from pathlib import Path
from typing import Literal, get_args

from models.contract.bundle import ServedModel, verify_bundle
from models.contract.errors import BundleError
from models.contract.hatllm import VLLM_ARCHITECTURES
from models.contract.specs import CoLLMSpec, HatLLMSpec, L2RecSpec, ModelSpec, Part, ULMRecSpec

Device = Literal["cpu", "cuda"]

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank accepts
DTYPES: dict[Device, str] = {"cpu": "float32", "cuda": "bfloat16"}
MAX_LOGPROBS = 1024
SHUTDOWN_TIMEOUT_SECONDS = 30
CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "TORCHDYNAMO_DISABLE": "1",  # else the first requests wait for a C++ compiler: --enforce-eager is for layers alone
}
CPU_BLOCK_TOKENS = 32  # the smallest block of its cache; whole blocks are shared, and its default is 128

ROOT = Path(__file__).resolve().parents[2]
PLUGIN_PATH = (ROOT, ROOT / "service/vllm_plugin/metadata")
"""Where the plugin is, and what tells vLLM of it."""


def server_arguments(
    model: ServedModel,
    *,
    device: Device,
    port: int,
    host: str = "127.0.0.1",
    dtype: str | None = None,
    max_loras: int | None = None,
    max_queued_requests: int = 1024,
) -> list[str]:
    """Flags of ``vllm.entrypoints.openai.api_server`` for a checkpoint and its adapters.

    Args:
        model: what is served; its base model's id is the served model's name.
        device: what the server runs on.
        port: TCP port to listen on.
        host: address to listen on.
        dtype: number format; default: float32 on a CPU, bfloat16 on CUDA, as in our engine.
        max_loras: adapters that one batch can hold; default: all of the bundle's, as a working set above it thrashes.
            In the CPU's memory there is room for twice that, and for two bundles: during a switch both are asked for.
        max_queued_requests: requests that wait at most; more are answered 503 at once.

    Raises:
        BundleError: the adapters' rank is more than vLLM serves, or HatLLM's backbone is none that our plugin knows.
    """
    n_adapters = max(len(model.adapters), 1)
    slots = max_loras if max_loras is not None else n_adapters
    return [
        *("--model", str(model.checkpoint)),
        *("--served-model-name", model.base_id),
        *("--host", host),
        *("--port", str(port)),
        *("--dtype", dtype or DTYPES[device]),  # its own default turns float32 checkpoints into float16
        *("--max-model-len", str(model.max_tokens)),
        "--enable-lora",
        *("--max-loras", str(slots)),
        *("--max-cpu-loras", str(2 * max(slots, n_adapters))),  # what was swapped out is not read from disk again
        *("--max-lora-rank", str(_rank_flag(max(model.lora_rank, model.table_rank)))),
        *("--max-num-queued-reqs", str(max_queued_requests)),
        *("--shutdown-timeout", str(SHUTDOWN_TIMEOUT_SECONDS)),  # the default aborts what is in flight
        "--disable-uvicorn-access-log",
        *_part_arguments(model, device),
        # On a CPU compiling a few layers costs more than it gives; HatLLM's masks depend on the prompts.
        *(("--enforce-eager",) if device == "cpu" or model.part == "hatllm" else ()),
    ]


def _part_arguments(model: ServedModel, device: Device) -> tuple[str, ...]:
    match model.spec:
        case ModelSpec() as spec:
            return _next_token_arguments(min(MAX_LOGPROBS, spec.n_items))  # asked for more than it has, vLLM crashes
        case CoLLMSpec() as spec:
            return _answer_arguments(spec, device)
        case HatLLMSpec():
            return _state_arguments(model.checkpoint)
        case ULMRecSpec() as spec:
            return (*_next_token_arguments(spec.candidates), *_shared_beginnings(device))
        case L2RecSpec():
            raise BundleError(
                f"{model.id}: vLLM has no experts that a user's embedding routes; our engine serves l2rec"
            )


def _next_token_arguments(n_best: int) -> tuple[str, ...]:
    """The next token's log-probabilities, so many at most."""
    return (
        *("--generation-config", "vllm"),  # sampling defaults must not depend on files of the checkpoint
        *("--max-logprobs", str(n_best)),
        *("--logprobs-mode", "processed_logprobs"),  # so that logit_bias and allowed tokens show
        "--return-tokens-as-token-ids",
    )


def _answer_arguments(spec: CoLLMSpec, device: Device) -> tuple[str, ...]:
    """A classifier of one class, whose weights are the answer's row of the vocabulary: it gives the answer's logit."""
    classifier = {"classifier_from_token": [spec.answer], "method": "no_post_processing"}
    return (
        *("--runner", "pooling"),
        *("--convert", "classify"),
        *("--hf-overrides", json.dumps(classifier)),
        *_shared_beginnings(device),  # all candidates' prompts begin alike
    )


def _shared_beginnings(device: Device) -> tuple[str, ...]:
    """What prompts begin with alike is computed once."""
    return ("--enable-prefix-caching", *(("--block-size", str(CPU_BLOCK_TOKENS)) if device == "cpu" else ()))


def _state_arguments(checkpoint: Path) -> tuple[str, ...]:
    """The last state of a prompt under the masks of our plugin."""
    architecture = _architecture(checkpoint)
    if architecture not in VLLM_ARCHITECTURES:
        raise BundleError(f"{checkpoint}: is {architecture}; vLLM serves {', '.join(VLLM_ARCHITECTURES)}")
    return (
        *("--runner", "pooling"),
        *("--convert", "embed"),
        *("--hf-overrides", json.dumps({"architectures": [VLLM_ARCHITECTURES[architecture]]})),
        "--no-enable-prefix-caching",
        "--no-enable-chunked-prefill",
    )


def _architecture(checkpoint: Path) -> str:
    try:
        document = json.loads((checkpoint / "config.json").read_bytes())
        return str(document["architectures"][0])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as exc:
        raise BundleError(f"{checkpoint}: config.json cannot be read or names no architecture: {exc!r}") from exc


def server_environment(device: Device, part: Part = "local") -> dict[str, str]:
    """Environment variables that the flags of :func:`server_arguments` rely on."""
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",  # the gateway loads and unloads adapters
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if part == "hatllm":
        environment["PYTHONPATH"] = os.pathsep.join(map(str, PLUGIN_PATH))
    return environment | (CPU_ENVIRONMENT if device == "cpu" else {})


def _rank_flag(rank: int) -> int:
    allowed = [each for each in LORA_RANKS if each >= rank]
    if not allowed:
        raise BundleError(f"the adapters' rank is {rank}, vLLM serves {LORA_RANKS[-1]} at most")
    return min(allowed)


def main() -> None:
    """Print arguments or environment for a shell script."""
    parser = argparse.ArgumentParser(prog="python -m models.contract.vllm", description="Flags of a vLLM server.")
    parser.add_argument("bundle", nargs="?", type=Path, help="bundle directory")
    parser.add_argument("--model", choices=get_args(Part), default="local", help="which of its models, default: local")
    parser.add_argument("--environment", action="store_true", help="print the environment instead of the flags")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="default: cuda")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on, default: 8001")
    parser.add_argument("--dtype", help="number format, default: float32 on a CPU, bfloat16 on CUDA")
    parser.add_argument("--max-loras", type=int, help="adapters in one batch, default: all of the bundle's")
    options = parser.parse_args()
    if options.environment:
        variables = server_environment(options.device, options.model)
        print("\n".join(f"{name}={value}" for name, value in variables.items()))
        return
    if options.bundle is None:
        parser.error("BUNDLE_DIR is missing")
    try:
        model = verify_bundle(options.bundle).served(options.model)
        lines = server_arguments(
            model,
            device=options.device,
            port=options.port,
            host=options.host,
            dtype=options.dtype,
            max_loras=options.max_loras,
        )
    except BundleError as error:
        parser.error(str(error))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
