"""How a stock vLLM server is started for a bundle: flags and environment, the same for CUDA and for a CPU.

For shell scripts:

    python -m models.contract.vllm BUNDLE_DIR --device cpu --port 8001      one argument a line
    python -m models.contract.vllm --device cpu --environment               one NAME=VALUE a line
"""

import argparse
from pathlib import Path
from typing import Literal

from models.contract.bundle import CHECKPOINT, Bundle, verify_bundle
from models.contract.errors import BundleError

Device = Literal["cpu", "cuda"]

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank accepts
DTYPES: dict[Device, str] = {"cpu": "float32", "cuda": "bfloat16"}
MAX_LOGPROBS = 1024
SHUTDOWN_TIMEOUT_SECONDS = 30


def server_arguments(
    bundle: Bundle,
    *,
    device: Device,
    port: int,
    host: str = "127.0.0.1",
    dtype: str | None = None,
    max_loras: int | None = None,
    max_queued_requests: int = 1024,
) -> list[str]:
    """Flags of ``vllm.entrypoints.openai.api_server`` for the checkpoint and the adapters of a bundle.

    Args:
        bundle: what is served; its base model's id is the served model's name.
        device: what the server runs on.
        port: TCP port to listen on.
        host: address to listen on.
        dtype: number format; default: float32 on a CPU, bfloat16 on CUDA, as in our engine.
        max_loras: adapters that one batch can hold; default: all of the bundle's, as a working set above it thrashes.
            In the CPU's memory there is room for twice that, and for two bundles: during a switch both are asked for.
        max_queued_requests: requests that wait at most; more are answered 503 at once.

    Raises:
        BundleError: the adapters' rank is more than vLLM serves.
    """
    model = bundle.manifest.model
    n_adapters = max(len(model.adapters), 1)
    slots = max_loras if max_loras is not None else n_adapters
    return [
        *("--model", str(bundle.path(CHECKPOINT))),
        *("--served-model-name", bundle.base_id),
        *("--host", host),
        *("--port", str(port)),
        *("--dtype", dtype or DTYPES[device]),  # its own default turns float32 checkpoints into float16
        *("--max-model-len", str(bundle.local.max_tokens)),
        *("--generation-config", "vllm"),  # sampling defaults must not depend on files of the checkpoint
        "--enable-lora",
        *("--max-loras", str(slots)),
        *("--max-cpu-loras", str(2 * max(slots, n_adapters))),  # what was swapped out is not read from disk again
        *("--max-lora-rank", str(_rank_flag(max(model.lora_rank, model.table_rank)))),
        *("--max-logprobs", str(min(MAX_LOGPROBS, model.n_items))),  # asked for more than its vocabulary, vLLM crashes
        *("--logprobs-mode", "processed_logprobs"),  # so that logit_bias shows in the ranking
        "--return-tokens-as-token-ids",
        *("--max-num-queued-reqs", str(max_queued_requests)),
        *("--shutdown-timeout", str(SHUTDOWN_TIMEOUT_SECONDS)),  # the default aborts what is in flight
        "--disable-uvicorn-access-log",
        *(("--enforce-eager",) if device == "cpu" else ()),  # compiling a few layers costs more than it gives
    ]


def server_environment(device: Device) -> dict[str, str]:
    """Environment variables that the flags of :func:`server_arguments` rely on."""
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",  # the gateway loads and unloads adapters
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return environment | ({"VLLM_CPU_KVCACHE_SPACE": "2"} if device == "cpu" else {})  # GiB


def _rank_flag(rank: int) -> int:
    allowed = [each for each in LORA_RANKS if each >= rank]
    if not allowed:
        raise BundleError(f"the adapters' rank is {rank}, vLLM serves {LORA_RANKS[-1]} at most")
    return min(allowed)


def main() -> None:
    """Print arguments or environment for a shell script."""
    parser = argparse.ArgumentParser(prog="python -m models.contract.vllm", description="Flags of a vLLM server.")
    parser.add_argument("bundle", nargs="?", type=Path, help="bundle directory")
    parser.add_argument("--environment", action="store_true", help="print the environment instead of the flags")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="default: cuda")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on, default: 8001")
    parser.add_argument("--dtype", help="number format, default: float32 on a CPU, bfloat16 on CUDA")
    parser.add_argument("--max-loras", type=int, help="adapters in one batch, default: all of the bundle's")
    options = parser.parse_args()
    if options.environment:
        print("\n".join(f"{name}={value}" for name, value in server_environment(options.device).items()))
        return
    if options.bundle is None:
        parser.error("BUNDLE_DIR is missing")
    try:
        bundle = verify_bundle(options.bundle)
        lines = server_arguments(
            bundle,
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
