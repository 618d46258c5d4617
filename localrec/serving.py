"""Commands that start a server. The gateway's process never imports torch, the engine's does."""

import os
from pathlib import Path
from typing import Literal, get_args

import click

from localrec.options import given
from models.contract.errors import MissingExtraError
from models.contract.specs import Part

HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")


@click.group()
def serve() -> None:
    """Start the gateway, our engine (extra: engine), or a whole service on this machine (extra: train)."""


@serve.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="LOCALREC_CONFIG",
    help="TOML file, deploy/gateway.toml is the manual. Environment: LOCALREC_CONFIG; LOCALREC_<KEY> overrides a key.",
)
@HOST
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="TCP port to listen on; 0 takes a free one.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the port, one a core. In containers rather more containers.",
)
def gateway(config: Path | None, host: str, port: int, processes: int) -> None:
    """The HTTP service: POST /recommend, /healthz, /readyz, /metrics."""
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # products are small; a pool of threads only takes the cores away
    from service.gateway.settings import load_settings

    settings = load_settings(config)
    if processes == 1:
        from service.gateway.serve import serve as serve_gateway

        serve_gateway(settings, host, port)
    else:
        from service.gateway.processes.supervisor import serve_many

        serve_many(settings, host, port, processes)


@serve.command()
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), required=True, help="Bundle to serve.")
@click.option("--model", type=click.Choice(get_args(Part)), help="Which of the bundle's models. Default: local.")
@HOST
@click.option("--port", type=click.IntRange(0, 65_535), default=8100, show_default=True, help="TCP port to listen on.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), help="Default: float32 on a CPU.")
@click.option("--device", help="Torch device. Default: CUDA where there is one.")
@click.option("--threads", type=click.IntRange(1), help="Torch threads. Default: one less than cores.")
@click.option("--max-batch", type=click.IntRange(1), help="Calls (prompt x adapter) in a pass, at most. Default: 64.")
@click.option("--max-queue", type=click.IntRange(1), help="Calls that wait, at most. Default: 1024.")
@click.option(
    "--adapter-budget-mib", type=click.IntRange(1), help="Memory of adapters, in MiB, at most. Default: 2048."
)
@click.option(
    "--head-index-items", type=click.IntRange(1), help="Search larger vocabularies by index. Default: 200000."
)
@click.option(
    "--otlp-endpoint",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    help="Send OpenTelemetry traces there, over HTTP (extra: otel). Environment: OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option(
    "--trace-sample",
    type=click.FloatRange(0, 1),
    help="Share of requests without a caller's trace that begin one. Default: 0.",
)
def engine(bundle: Path, host: str, port: int, **flags: object) -> None:
    """Our worker: one of the bundle's models with hot-swapped LoRA adapters or experts, in vLLM's HTTP contract."""
    from service.gateway.settings import check_environment

    check_environment()
    try:
        from service.engine.serve import ServeOptions
        from service.engine.serve import serve as serve_engine
    except ModuleNotFoundError as exc:
        raise MissingExtraError(f"serve engine needs {exc.name}: pip install 'localrec[engine]'") from exc

    serve_engine(bundle, host, port, ServeOptions(**given(flags)))


@serve.command()
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/default"),
    show_default=True,
    help="Run directory whose newest bundle is served.",
)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="Serve this bundle instead.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where Redis' data and the logs lie; a short path, it holds a socket. Default: RUN/service.",
)
@click.option(
    "--workers",
    type=click.Choice(["engine", "vllm"]),
    default="engine",
    show_default=True,
    help="What serves the local models: our engine, or vLLM, which scripts/vllm installs.",
)
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True, help="Gateway's TCP port.")
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65_535),
    default=8081,
    show_default=True,
    help="Operators' TCP port; 0: there is none.",
)
def stack(
    run: Path, bundle: Path | None, directory: Path | None, workers: Literal["engine", "vllm"], **ports: int
) -> None:
    """A whole service on this machine: Redis, worker and gateway, on the loopback address, until Ctrl-C.

    Publishes the bundle, makes it the current one and serves it with the settings of deploy/gateway.toml. Users' events
    are kept and are there at the next start. Production: docker-compose.yml, deploy/k8s.
    """
    from localrec.serving_stack import serve_stack

    serve_stack(bundle, run, directory or run / "service", workers, **ports)
