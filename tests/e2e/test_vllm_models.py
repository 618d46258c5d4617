"""CoLLM and ULMRec on stock vLLM and HatLLM on vLLM with our plugin answer what transformers and PEFT answer.

Runs three real servers, one after the other (about three minutes).
"""

import base64
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.processes import free_port
from support.servers import ROOT, post, server
from support.small_parts import (
    LETTERS,
    N_FEATURES,
    N_ITEMS,
    RANK,
    answers,
    letters_scores,
    load,
    random_prompts,
    states,
    ulmrec_prompts,
    write_parts,
)

from models.contract.bundle import Bundle, ServedModel
from models.contract.probe import load_probe
from models.contract.specs import Part
from models.contract.types import Ints, RankedList, item_numbers
from models.contract.vllm import CPU_BLOCK_TOKENS
from service.engine.adapter_files import read_adapter
from service.engine.model import LanguageModel, ModelSettings, Query

pytestmark = pytest.mark.vllm

TOLERANCE = 1e-4  # float32 on both sides: differences up to 1e-5 were seen
N_WORDS = 15  # of the tiny backbone
START_SECONDS = 240.0
FIRST_WORD = 5
ULMREC = ulmrec_prompts()
CANDIDATES = item_numbers(range(N_ITEMS - LETTERS, N_ITEMS))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_parts(tmp_path_factory.mktemp("parts") / "p-1")


@contextmanager
def serving(bundle: Bundle, part: Part, log: Path) -> Iterator[str]:
    """URL of a vLLM server of a part, its adapter loaded at runtime as the gateway does it."""
    port, model = free_port(), bundle.served(part)
    url = f"http://127.0.0.1:{port}"
    command = [str(ROOT / "scripts/vllm"), str(bundle.directory), "--device", "cpu", "--model", part]
    with server([*command, "--port", str(port)], url, log, START_SECONDS):
        adapter = {"lora_name": model.adapter_name(part), "lora_path": str(model.adapter_path(part))}
        post(f"{url}/v1/load_lora_adapter", adapter)
        yield url


@pytest.fixture(scope="module")
def collm(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(bundle, "collm", tmp_path_factory.mktemp("collm") / "vllm.log") as url:
        yield url


@pytest.fixture(scope="module")
def hatllm(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(bundle, "hatllm", tmp_path_factory.mktemp("hatllm") / "vllm.log") as url:
        yield url


@pytest.fixture(scope="module")
def ranker(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(bundle, "ulmrec", tmp_path_factory.mktemp("ulmrec") / "vllm.log") as url:
        yield url


def served_names(model: ServedModel) -> dict[bool, str]:
    """Names of the adapter (True) and of the base model (False)."""
    return {True: model.adapter_name(model.part), False: model.base_id}


def classified(url: str, name: str, prompts: Sequence[Ints] | Sequence[str]) -> NDArray[np.float64]:
    """One number a prompt."""
    given = [prompt if isinstance(prompt, str) else prompt.tolist() for prompt in prompts]
    data = post(f"{url}/classify", {"model": name, "input": given, "use_activation": False})["data"]
    return np.asarray([each["probs"] for each in data])[:, 0]


def embedded(url: str, name: str, prompt: Ints) -> NDArray[np.float32]:
    """A prompt's state."""
    body = {"model": name, "input": prompt.tolist(), "encoding_format": "base64", "use_activation": False}
    return np.frombuffer(base64.b64decode(post(f"{url}/v1/embeddings", body)["data"][0]["embedding"]), np.float32)


def candidates(n: int, n_shared: int) -> list[Ints]:
    """Prompts that begin alike, with tokens of features in them."""
    rng = np.random.default_rng(3)
    shared = rng.integers(3, N_WORDS + N_FEATURES, n_shared)
    return [np.append(shared, rng.integers(3, N_WORDS + N_FEATURES, 1 + k % 7)).astype(np.int32) for k in range(n)]


@pytest.mark.parametrize("adapted", [True, False])
def test_collm_gives_the_answers_logit(bundle: Bundle, collm: str, adapted: bool) -> None:
    model, prompts = bundle.served("collm"), candidates(50, 40)
    served = classified(collm, served_names(model)[adapted], prompts)
    np.testing.assert_allclose(served, answers(load(model, adapted), prompts), atol=TOLERANCE)


def test_collm_and_its_base_model_differ(bundle: Bundle, collm: str) -> None:
    names, prompts = served_names(bundle.served("collm")), candidates(4, 3)
    assert (np.abs(classified(collm, names[True], prompts) - classified(collm, names[False], prompts)) > 0.01).all()


def test_collms_candidates_share_the_beginning_within_one_request(bundle: Bundle, collm: str) -> None:
    before, name = cached_tokens(collm), bundle.served("collm").adapter_name("collm")
    prompts = [np.append(FIRST_WORD, prompt).astype(np.int32) for prompt in candidates(20, 40)]  # not asked before
    classified(collm, name, prompts)
    assert cached_tokens(collm) - before == 19 * CPU_BLOCK_TOKENS  # all but the first, whole blocks


def cached_tokens(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:  # noqa: S310 - loopback
        lines = response.read().decode().splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("vllm:prefix_cache_hits_total"))


def test_score_of_a_text_is_the_classifiers(bundle: Bundle, collm: str) -> None:
    """`/score` joins its two texts as they are, so the second one begins with the space."""
    name = bundle.served("collm").adapter_name("collm")
    first, seconds = "red lamp blue", [" fish", " drum rose"]
    body = {"model": name, "text_1": first, "text_2": seconds, "use_activation": False}
    scores = [each["score"] for each in post(f"{collm}/score", body)["data"]]
    np.testing.assert_allclose(scores, classified(collm, name, [first + second for second in seconds]), atol=1e-6)


@pytest.mark.parametrize("prompt", [[], [3, N_WORDS + N_FEATURES], [3] * 65])
def test_collm_refuses_what_is_no_prompt(bundle: Bundle, collm: str, prompt: list[int]) -> None:
    with pytest.raises(HTTPError, match="400"):
        classified(collm, bundle.served("collm").base_id, [np.asarray(prompt, np.int32)])


@pytest.mark.parametrize("adapted", [True, False])
def test_hatllm_gives_states_under_its_masks_many_requests_at_once(bundle: Bundle, hatllm: str, adapted: bool) -> None:
    model, prompts = bundle.served("hatllm"), random_prompts(60, N_WORDS)
    name = served_names(model)[adapted]
    with ThreadPoolExecutor(16) as pool:
        served = list(pool.map(lambda prompt: embedded(hatllm, name, prompt), prompts))
    np.testing.assert_allclose(np.stack(served), states(load(model, adapted), prompts), atol=TOLERANCE)


def test_hatllm_and_its_base_model_differ(bundle: Bundle, hatllm: str) -> None:
    """One after the other: on a CPU, vLLM gives the base model an adapter's weights where a batch holds both (its
    pull request 48421)."""
    names = served_names(bundle.served("hatllm"))
    for prompt in random_prompts(4, N_WORDS, seed=1):
        adapted, base = (embedded(hatllm, names[key], prompt) for key in (True, False))
        assert np.abs(adapted - base).max() > 0.01


def test_hatllm_is_not_the_unmasked_model(bundle: Bundle, hatllm: str) -> None:
    model = bundle.served("hatllm")
    prompt = random_prompts(1, N_WORDS, seed=2)[0]
    plain = load(model, adapted=True).model(torch.from_numpy(prompt).long()[None]).last_hidden_state[0, -1]
    assert np.abs(embedded(hatllm, model.adapter_name("hatllm"), prompt) - plain.detach().numpy()).max() > 0.01


def lettered(url: str, name: str, prompt: Ints, n: int = LETTERS) -> NDArray[np.float64]:
    """Log-probabilities of the first ``n`` letters."""
    letters = ULMREC.answers[:n].tolist()
    body = {"model": name, "prompt": prompt.tolist(), "max_tokens": 1, "temperature": 0, "logprobs": n}
    body |= {"allowed_token_ids": letters, "return_tokens_as_token_ids": True}
    best = post(f"{url}/v1/completions", body)["choices"][0]["logprobs"]["top_logprobs"][0]
    return np.asarray([best[f"token_id:{letter}"] for letter in letters])


def users_prompts(n: int, user: int = 0) -> list[Ints]:
    """Of users with 1 to 20 items, the last one's the longest that there can be."""
    rng = np.random.default_rng(user)
    histories = [rng.integers(N_ITEMS, size=1 + k % 20).astype(np.int32) for k in range(n - 1)]
    longest = np.full(20, np.argmax(np.diff(ULMREC.offsets)), np.int32)
    return [
        ULMREC.prompt(history, CANDIDATES, ULMREC.indices[user + k]) for k, history in enumerate([*histories, longest])
    ]


@pytest.mark.parametrize("adapted", [True, False])
def test_ulmrec_ranks_letters_as_transformers_and_our_engine_do(bundle: Bundle, ranker: str, adapted: bool) -> None:
    model, prompts = bundle.served("ulmrec"), users_prompts(8)
    served = [lettered(ranker, served_names(model)[adapted], prompt) for prompt in prompts]
    reference = load(model, adapted)
    expected = [letters_scores(reference, prompt, ULMREC.answers) for prompt in prompts]
    np.testing.assert_allclose(served, expected, atol=TOLERANCE)
    engine = LanguageModel.load(model.checkpoint, ModelSettings(RANK, device="cpu", dtype="float32"))
    engine.adapters.write(1, read_adapter(model.adapter_path("ulmrec"), engine.adapters.targets()))
    queries = [Query(prompt, int(adapted), LETTERS, allowed=ULMREC.answers) for prompt in prompts]
    for scores, answer in zip(served, engine.answer(queries), strict=True):
        assert ULMREC.answers[np.argsort(-scores)].tolist() == answer.ranking.items.tolist()


def test_ulmrecs_probe_knows_the_adapter_from_the_base_model(bundle: Bundle, ranker: str) -> None:
    model = bundle.served("ulmrec")
    probe = load_probe(model.directory, model.adapters)
    items = np.sort(probe.lists["ulmrec"].items)
    prompt = ULMREC.prompt(probe.history, items, ULMREC.indices[probe.user or 0])
    complaints = {
        adapted: probe.complaint("ulmrec", RankedList(items, lettered(ranker, name, prompt).astype(np.float32)))
        for adapted, name in served_names(model).items()
    }
    assert complaints[True] == ""
    assert "answers like the base model" in complaints[False]


def test_fewer_candidates_than_letters_are_ranked_among_themselves(bundle: Bundle, ranker: str) -> None:
    prompt = ULMREC.prompt(CANDIDATES[:3], CANDIDATES[:3], None)
    served = lettered(ranker, bundle.served("ulmrec").base_id, prompt, n=3)
    expected = letters_scores(load(bundle.served("ulmrec"), False), prompt, ULMREC.answers[:3])
    np.testing.assert_allclose(served, expected, atol=TOLERANCE)


def test_ulmrecs_users_share_the_instruction_and_a_users_next_prompt_his_history(bundle: Bundle, ranker: str) -> None:
    name = bundle.served("ulmrec").adapter_name("ulmrec")
    lettered(ranker, name, users_prompts(2, user=10)[0])
    before = cached_tokens(ranker)
    lettered(ranker, name, users_prompts(2, user=11)[0])
    assert cached_tokens(ranker) - before == CPU_BLOCK_TOKENS  # of an instruction of 40
    history, index = item_numbers([1, 2, 3, 4, 5, 6]), ULMREC.indices[12]
    lettered(ranker, name, ULMREC.prompt(history[:-1], CANDIDATES, index))
    before = cached_tokens(ranker)
    lettered(ranker, name, ULMREC.prompt(history, CANDIDATES, index))
    read = len(ULMREC.prompt(history[:-1], CANDIDATES, index)) - len(ULMREC.prompt([], CANDIDATES, index))
    shared = read + sum(len(ULMREC.pieces[each]) for each in ("opening", "user", "after_index", "history"))
    assert cached_tokens(ranker) - before >= shared // CPU_BLOCK_TOKENS * CPU_BLOCK_TOKENS > CPU_BLOCK_TOKENS
