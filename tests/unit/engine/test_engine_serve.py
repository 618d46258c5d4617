"""The engine as a process of its own, from a bundle."""

import base64
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.bundles import worker_bundle
from support.http import request
from support.processes import free_port, wait_until
from support.servers import post, server
from support.small_l2rec import write_l2rec
from support.tables import write_table_bundle

from models.contract.bundle import MANIFEST, write_manifest
from models.contract.errors import BundleError
from models.contract.index import top_n
from models.contract.l2rec import ITEM_ROWS
from models.contract.probe import load_probe
from models.contract.specs import ModelSpec
from service.engine.serve import serve

pytestmark = pytest.mark.engine

# The model announces its first batch by one file and waits for another, so that a test knows what is in flight.
SERVE_GATED = """
import sys, time
from pathlib import Path
from service.engine.model import LanguageModel
from service.engine.serve import serve
gate, answer = Path(sys.argv[3]), LanguageModel.answer
def gated(model, queries):
    (gate / "entered").touch()
    while not (gate / "open").exists():
        time.sleep(0.01)
    return answer(model, queries)
LanguageModel.answer = gated
serve(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""
COMPLETION = {"model": "b-1-c00", "prompt": [50, 1], "max_tokens": 1, "logprobs": 5}
N_USERS = 8


def test_process_serves_a_bundle_and_answers_what_is_in_flight_before_it_ends(tmp_path: Path) -> None:
    bundle = write_table_bundle(tmp_path / "b-1", 50, ["c00"])  # its ranks must come from the manifest
    other = write_table_bundle(tmp_path / "b-2", 50, ["c00"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", SERVE_GATED, str(bundle.directory), str(port), str(tmp_path)]
    with server(command, url, tmp_path / "log", start_seconds=60) as process, ThreadPoolExecutor(N_USERS) as users:
        card = request(port, "GET", "/v1/models").json["data"][0]
        assert (card["id"], card["max_model_len"]) == (bundle.base_id, 22)
        adapter = {"lora_name": "b-1-c00", "lora_path": str(bundle.adapter_path("c00"))}
        assert "added" in post(f"{url}/v1/load_lora_adapter", adapter)
        neighbour = {"lora_name": "b-2-c00", "lora_path": str(other.adapter_path("c00"))}
        assert "added" in post(f"{url}/v1/load_lora_adapter", neighbour)  # another bundle of the same base model
        answers = [users.submit(post, f"{url}/v1/completions", COMPLETION)]
        wait_until((tmp_path / "entered").exists, what="the first request in the model")
        answers += [users.submit(post, f"{url}/v1/completions", COMPLETION) for _ in range(N_USERS - 1)]
        wait_until(lambda: waiting(port) == N_USERS - 1, what="the others in the queue")
        process.send_signal(signal.SIGTERM)
        (tmp_path / "open").touch()
        assert process.wait(30) == 0
        assert all(answer.result()["choices"] for answer in answers)


def test_command_line_serves_l2rec_and_its_experts_pass_their_probe(tmp_path: Path) -> None:
    spec = write_l2rec(tmp_path / "b-1/l2rec", n_items=20)
    local = worker_bundle(tmp_path / "b-1", ModelSpec("title", 6, 20, 4, ("global",), "random"))
    (local.directory / MANIFEST).unlink()
    model = write_manifest(local.directory, msgspec.structs.replace(local.manifest, l2rec=spec)).served("l2rec")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", str(local.directory)]
    with server([*command, "--model", "l2rec", "--port", str(port)], url, tmp_path / "log", start_seconds=120):
        card = request(port, "GET", "/v1/models").json["data"][0]
        assert (card["id"], card["max_model_len"]) == (model.base_id, spec.max_tokens + 1)
        name = model.adapter_name("l2rec")
        post(f"{url}/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(model.adapter_path("l2rec"))})
        probe, rows = load_probe(model.directory, model.adapters), np.load(model.directory / ITEM_ROWS)
        asked = {"input": probe.prompt.tolist(), "encoding_format": "base64"}
        asked["user_embedding"] = base64.b64encode(probe.embedding.tobytes()).decode()
        complaints = []
        for served in (name, model.base_id):
            answer = post(f"{url}/v1/embeddings", asked | {"model": served})["data"][0]["embedding"]
            ranked = top_n(rows @ np.frombuffer(base64.b64decode(answer), "<f4"), probe.n, probe.history)
            complaints.append(probe.complaint("l2rec", ranked))
    assert complaints[0] == ""
    assert "answers like the base model" in complaints[1]


def waiting(port: int) -> int:
    """Requests in the engine's queue."""
    lines = request(port, "GET", "/metrics").body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("localrec_engine_queue_length ")).split()[1]))


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no checkpoint"):
        serve(tmp_path, "127.0.0.1", 0)


def test_broken_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="schema_version"):
        serve(tmp_path, "127.0.0.1", 0)


def test_what_is_no_directory_is_not_looked_for_on_a_hub(tmp_path: Path):
    with pytest.raises(BundleError, match="no such directory"):
        serve(tmp_path / "nope", "127.0.0.1", 0)
