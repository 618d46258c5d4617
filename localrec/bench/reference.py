"""The yardstick: the least that a FastAPI service does that looks a user up and answers with ten items."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from redis.asyncio import Redis


class Ask(BaseModel):
    """The request."""

    user_id: str
    n: int = 10


class Item(BaseModel):
    """One item."""

    item_id: str
    rank: int
    score: float


class Answer(BaseModel):
    """The answer."""

    user_id: str
    items: list[Item]


def create_reference(redis_url: str) -> FastAPI:
    """One endpoint: one Redis GET, ten items, pydantic in and out."""
    redis = Redis.from_url(redis_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await redis.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/recommend")
    async def recommend(ask: Ask) -> Answer:
        await redis.get(ask.user_id)
        items = [Item(item_id=f"i{rank}", rank=rank, score=1 / rank) for rank in range(1, ask.n + 1)]
        return Answer(user_id=ask.user_id, items=items)

    return app


def serve_reference(redis_url: str, port: int) -> None:
    """Serve it as the gateway is served."""
    config = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    uvicorn.run(create_reference(redis_url), host="127.0.0.1", port=port, **config)  # type: ignore[arg-type] # mixed values
