"""Background loops that must outlive a failed step."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


async def every(interval_seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Run ``step`` for ever, ``interval_seconds`` after its last end. A step that raises is logged and tried again."""
    while True:
        try:
            await step()
        except Exception:
            logger.exception("background step failed")
        await asyncio.sleep(interval_seconds)


async def cancel_all(tasks: list["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
