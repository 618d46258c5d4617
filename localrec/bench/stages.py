"""What the stages of a `local` request take, as its answer tells."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from localrec.processes import post
from models.contract.errors import LocalRecError

STAGES = ("state", "plan", "fan_out", "fuse", "fill")


def ask(port: int, user_id: str, **fields: Any) -> dict[str, Any]:
    """One ``POST /recommend``. Raises LocalRecError unless it is answered with 200."""
    status, body = post(port, "/recommend", {"user_id": user_id} | fields)
    if status != 200:
        raise LocalRecError(f"/recommend: status {status}: {body[:200]!r}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def stage_metrics(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians in milliseconds over the answers that asked a worker; all but the slowest call is the gateway's own."""
    timings = [answer["timings_ms"] for answer in answers if "slowest_call" in answer["timings_ms"]]
    if not timings:
        raise LocalRecError("no answer asked a worker: nothing to measure")
    named = ("total", *STAGES, "slowest_call")
    medians = {f"local_{stage}_p50_ms": float(np.median([t[stage] for t in timings])) for stage in named}
    own = float(np.median([t["total"] - t["slowest_call"] for t in timings]))
    degraded = float(np.mean([answer["degraded"] for answer in answers]))
    return medians | {"local_own_share_p50_ms": own, "local_degraded_share": degraded}
