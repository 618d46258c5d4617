"""The engine behind a real socket, and a client that speaks JSON with it."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from service.engine.app import EngineSettings, create_app
from service.engine.model import Answer, LanguageModel, ModelSettings, Query

N_ITEMS = 50
START = N_ITEMS
RANK = 4
ADAPTERS = ("c00", "c01", "c02")
MODEL_SETTINGS = ModelSettings(lora_rank=RANK, adapter_capacity=2, device="cpu", dtype="float32")


class Client:
    """JSON over a real socket."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and decoded body; bytes and files are sent as they are."""
        sent = {"data": body} if isinstance(body, bytes | io.BytesIO) else {"json": body}
        async with self.session.post(path, **sent) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and body."""
        async with self.session.get(path) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def metric_line(self, line: str, seconds: float = 20.0) -> None:
        """Wait until the metrics hold this line."""
        async with asyncio.timeout(seconds):
            while line not in (await self.get("/metrics"))[1].splitlines():
                pass

    async def load(self, root: Path, *names: str) -> None:
        """Load adapters under their own names."""
        for name in names:
            path = str(root / "adapters" / name)
            assert (await self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}))[0] == 200

    async def ranked(self, model: str, prompt: list[int], n: int = 10) -> dict[str, float]:
        """The ranked tokens of a completion, which must succeed."""
        status, body = await self.post("/v1/completions", completion(model, prompt, logprobs=n))
        assert status == 200, body
        ranked: dict[str, float] = body["choices"][0]["logprobs"]["top_logprobs"][0]
        return ranked


def completion(model: str, prompt: Any, **others: Any) -> dict[str, Any]:
    """Body of a completion as the gateway sends it."""
    return {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 10} | others


class Gate:
    """Holds a model's batches until it is opened; keeps their queries, and their sizes."""

    def __init__(self, model: LanguageModel) -> None:
        self._answer = model.answer
        self.open = threading.Event()
        self.entered = threading.Event()
        self.queries: list[Query] = []
        self.batches: list[int] = []

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        self.entered.set()
        assert self.open.wait(20)
        self.queries += queries
        self.batches.append(len(queries))
        return self._answer(queries)


Start = Callable[..., Awaitable[Client]]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that announces itself to nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(model: LanguageModel, settings: EngineSettings) -> AsyncIterator[Client]:
    """An engine on a free port, ended with the context."""
    config = uvicorn.Config(create_app(model, settings), "127.0.0.1", 0, ws="none", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
            yield Client(session)
    finally:
        server.should_exit = True
        await serving
