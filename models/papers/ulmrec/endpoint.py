"""Preferences that a language model behind an OpenAI-compatible endpoint extracts from users' texts (section 4.2.2).

Each answer is appended to a file of JSON lines at once, so that what was broken off, or fails, goes on from there; a
user whose texts have changed since, or who was asked about to another model, is asked about again.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
import msgspec
from tqdm import tqdm

from models.contract.errors import DataError, LocalRecError
from models.llm.items import one_line
from models.papers.ulmrec.config import ULMRecConfig

INSTRUCTION = (
    "You read what one customer has bought or written. Say in one sentence of at most 30 words what this customer"
    " prefers: kinds of products, brands, properties, and what is disliked. Begin with: The user prefers"
)
ANSWER_TOKENS = 80
_TEXTS, _CHARACTERS = 30, 500  # of a user, the newest, and of each of them, at most
_SHOWN = 200  # characters of a refusal


class EndpointError(LocalRecError):
    """The endpoint did not give a user's preference. The message names the user and says why."""


@dataclass(frozen=True)
class Endpoint:
    """Whom to ask, and how patiently.

    Args:
        url: base URL; ``/chat/completions`` is below it.
        model: its name there.
        key: sent as bearer token; None: none is.
        calls: at a time.
        attempts: for each user, where the server is busy, broken or not there.
        pause_seconds: after the first failed attempt, doubled after each further one.
        timeout_seconds: of an attempt.
    """

    url: str
    model: str
    key: str | None
    calls: int
    attempts: int = 6
    pause_seconds: float = 1.0
    timeout_seconds: float = 120.0

    @classmethod
    def of(cls, config: ULMRecConfig) -> Self:
        """The one that a configuration names, with the key from the environment."""
        key = os.environ.get(config.preference_key)
        return cls(config.preference_endpoint.rstrip("/"), config.preference_model, key, config.preference_calls)


class Answer(msgspec.Struct, frozen=True):
    """A line of the file of answers. ``asked`` is a digest of model and question."""

    user_id: str
    asked: str
    text: str


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _BusyError(Exception):
    """Worth another attempt, ``after_seconds`` at the earliest."""

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


def extract(endpoint: Endpoint, texts: Mapping[str, Sequence[str]], kept: Path) -> dict[str, str]:
    """The preference text of each user, asked of the endpoint where ``kept`` does not have it yet.

    Args:
        endpoint: see there.
        texts: of each user, by id, oldest first; the newest are shown.
        kept: file of the answers; its directory is made where it is missing.

    Raises:
        DataError: ``kept`` holds something else.
        EndpointError: a user's preference could not be had; what was answered until then is kept.
    """
    questions = {user: _question(lines) for user, lines in texts.items()}
    asked = {user: _digest(endpoint.model, question) for user, question in questions.items()}
    known = {answer.user_id: answer for answer in _read(kept)}
    found = {user: known[user].text for user in texts if user in known and known[user].asked == asked[user]}
    missing = [user for user in texts if user not in found]
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("ab") as file, tqdm(total=len(missing), desc="preferences", unit="user", disable=None) as bar:

        def keep(user: str, text: str) -> None:
            file.write(msgspec.json.encode(Answer(user, asked[user], text)) + b"\n")
            file.flush()
            found[user] = text
            bar.update()

        asyncio.run(_ask_all(endpoint, {user: questions[user] for user in missing}, keep))
    return found


def _question(texts: Sequence[str]) -> str:
    lines = [one_line(text)[:_CHARACTERS] for text in texts[-_TEXTS:]]
    return "\n".join(f"- {line}" for line in lines)


def _digest(model: str, question: str) -> str:
    return sha256(f"{model}\n{INSTRUCTION}\n{question}".encode()).hexdigest()[:16]


def _read(kept: Path) -> list[Answer]:
    """The answers so far; a last line that was broken off is cut away."""
    content = kept.read_bytes() if kept.exists() else b""
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        kept.write_bytes(complete)
    try:
        return msgspec.json.Decoder(Answer).decode_lines(complete)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DataError(f"preference_answers: {kept}: {exc}") from exc


async def _ask_all(endpoint: Endpoint, questions: Mapping[str, str], keep: Callable[[str, str], None]) -> None:
    waiting = iter(questions.items())

    async def work(session: aiohttp.ClientSession) -> None:
        for user, question in waiting:
            keep(user, await _patiently(session, endpoint, user, question))

    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    timeout = aiohttp.ClientTimeout(total=endpoint.timeout_seconds)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(endpoint.calls, len(questions))):
                    group.create_task(work(session))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None


async def _patiently(session: aiohttp.ClientSession, endpoint: Endpoint, user: str, question: str) -> str:
    reason = ""
    for attempt in range(endpoint.attempts):
        try:
            return await _ask(session, endpoint, user, question)
        except _BusyError as busy:
            reason = str(busy)
            if attempt + 1 < endpoint.attempts:
                await asyncio.sleep(max(busy.after_seconds, endpoint.pause_seconds * 2**attempt))
    raise EndpointError(f"{endpoint.url}: user {user!r}: {reason}, {endpoint.attempts} times")


async def _ask(session: aiohttp.ClientSession, endpoint: Endpoint, user: str, question: str) -> str:
    messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": question}]
    body = {"model": endpoint.model, "messages": messages, "temperature": 0, "max_tokens": ANSWER_TOKENS}
    try:
        async with session.post(f"{endpoint.url}/chat/completions", json=body) as response:
            status, content = response.status, await response.read()
            asked_to_wait = response.headers.get("Retry-After", "")
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise _BusyError(f"{type(exc).__name__}: {exc}") from exc
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _BusyError(f"status {status}", float(asked_to_wait) if asked_to_wait.isdecimal() else 0.0)
    if status != HTTPStatus.OK:
        said = content[:_SHOWN].decode(errors="replace")
        raise EndpointError(f"{endpoint.url}: user {user!r}: status {status}: {said}")
    return _text(endpoint, user, content)


def _text(endpoint: Endpoint, user: str, content: bytes) -> str:
    try:
        choices = msgspec.json.decode(content, type=_Completion).choices
    except msgspec.MsgspecError as exc:
        raise EndpointError(f"{endpoint.url}: user {user!r}: the answer is no chat completion: {exc}") from exc
    text = one_line(choices[0].message.content or "") if choices else ""
    if not text:
        raise EndpointError(f"{endpoint.url}: user {user!r}: the answer holds no text")
    return text
