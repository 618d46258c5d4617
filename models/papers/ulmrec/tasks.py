"""The six tasks of section 4.2: instruction, input and response, as the paper's figures 2 to 7 show them.

Figure 3 is a picture whose text is lost; its instruction is written after its counterpart in figure 4.

What a prompt tells of a user beside its target came before it: the history, and the preference where it is made by
template. The user index and preferences of other sources are made of the whole train part, as in the paper, and so of
the targets, too: what a ranker learns of them by heart is of no use to it on validation and test targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contract.prompts import newest
from models.contract.types import Ints, item_numbers
from models.contract.ulmrec import ULMRecPrompts
from models.llm.backbone import Backbone
from models.llm.items import one_line
from models.papers.ulmrec.config import Task, ULMRecConfig
from models.papers.ulmrec.data import RankingData
from models.papers.ulmrec.index import index_words
from models.papers.ulmrec.negatives import Negatives
from models.papers.ulmrec.prompts import check_length, token_ids
from models.papers.ulmrec.texts import template

INSTRUCTIONS: Mapping[Task, str] = MappingProxyType(
    {
        "index-preference": "Given user index, predict the user's preference.",
        "preference-index": "Given user's preference, predict the user index.",
        "history-index": "Given user's history in chronological order, predict the user index.",
        "rating": (
            "Given user index and preferences, predict the user's rating of the last item of user history out of 5."
        ),
        "intent": (
            "Given user's preference and candidate items, recommend an item from the candidate pool with its index"
            " letter for this user."
        ),
    }
)
OPENING, PREFERENCE, END = "### Instruction:\n{}\n\n### Input:\n", "Preference: ", ";"
RATING, RATED = "{:.1f}", " (Rating: {})"


@dataclass(frozen=True)
class Prompted:
    """A prompt with its response.

    Args:
        tokens: ids (int32), of which the last ``n_response`` are what is predicted.
        n_response: see ``tokens``.
        n_letters: candidates, where the response is the letter of one; 0: it is words, or an index.
    """

    tokens: Ints
    n_response: int
    n_letters: int = 0


@dataclass(frozen=True)
class Texts:
    """What prompts say of users.

    Args:
        index: token ids that stand for each user, by row; None: prompts have no index.
        preferences: token ids of each user's preference, by row, for all users; empty where there is none.
        template: gives those of the preference that a history makes; None: preferences are not made by template.
        ending: token ids that end a response of words.
    """

    index: tuple[Ints, ...] | None
    preferences: tuple[Ints, ...]
    template: Callable[[Ints], Ints] | None
    ending: Ints

    @classmethod
    def of(cls, backbone: Backbone, prompts: ULMRecPrompts, config: ULMRecConfig, data: RankingData) -> Self:
        """Raises ConfigError where the longest prompt does not fit into the backbone's context."""
        items, n = data.dataset.catalogue.items, config.preference_tokens
        lines = [one_line(text) for text in data.preferences.texts] or [""] * len(data.dataset.user_ids)

        def made(history: Ints) -> Ints:
            return _tokens(backbone, [one_line(template([items[item] for item in history]))], n)[0]

        index, eos = _indices(backbone, prompts, config, data), backbone.tokenizer.eos_token_id
        check_length(backbone, prompts.longest + n * any(lines) + max(map(len, index or ()), default=0))
        by_template = made if data.preferences.by_template else None
        return cls(index, _tokens(backbone, lines, n), by_template, item_numbers([] if eos is None else [eos]))


class TaskPrompts:
    """Makes the prompts of all tasks. What a prompt draws is drawn by its number: it is the same whenever it is made.

    Args:
        backbone: whose tokenizer is used.
        prompts: of the next-item task; the others use its pieces.
        texts: what they say of users.
        data: what they say of items.
        config: lengths, negatives, seed.
    """

    def __init__(
        self, backbone: Backbone, prompts: ULMRecPrompts, texts: Texts, data: RankingData, config: ULMRecConfig
    ) -> None:
        self._prompts, self._texts, self._config = prompts, texts, config
        self._train, self._ratings = data.dataset.train, data.ratings
        self._owners = np.repeat(np.arange(len(self._train)), np.diff(self._train.offsets))
        self._negatives = Negatives.of(data, config)
        self._words = _Words(backbone)
        self._make: Mapping[Task, Callable[[int, np.random.Generator], Prompted]] = {
            "next-item": self._next_item,
            "index-preference": self._index_preference,
            "preference-index": self._preference_index,
            "history-index": self._history_index,
            "rating": self._rating,
            "intent": self._intent,
        }

    def samples(self) -> dict[Task, NDArray[np.int64]]:
        """What each task has prompts of, nothing where its data are missing.

        Next item and intent: places of targets in the train part, each with at least one item of its user before it,
        so that every prefix of two items or more is a sample (LlamaRec). The other tasks: rows of users.
        """
        lengths = np.diff(self._train.offsets)
        places = np.flatnonzero(np.arange(len(self._owners)) > self._train.offsets[:-1][self._owners])
        told = np.asarray([len(ids) > 0 for ids in self._texts.preferences], np.bool_)
        indexed = np.full(len(lengths), self._texts.index is not None)
        return {
            "next-item": places,
            "index-preference": np.flatnonzero(indexed & told),
            "preference-index": np.flatnonzero(indexed & told),
            "history-index": np.flatnonzero(indexed & (lengths > 0)),
            "rating": np.flatnonzero(indexed & told & self._last_is_rated()),
            "intent": places[told[self._owners[places]]],
        }

    def prompt(self, task: Task, sample: int, number: int) -> Prompted:
        """A prompt of one of a task's :meth:`samples`, the ``number``-th of all in training."""
        return self._make[task](sample, np.random.default_rng([self._config.seed, number]))

    def _next_item(self, place: int, rng: np.random.Generator) -> Prompted:
        user, history, target = self._at(place)
        if self._config.hidden_histories > rng.random():
            history = history[:0]
        candidates, letter = self._negatives.candidates(user, target, rng)
        prompt = self._prompts.prompt_of(history, candidates, self._index(user))
        return _prompted([prompt], self._prompts.answers[letter : letter + 1], len(candidates))

    def _intent(self, place: int, rng: np.random.Generator) -> Prompted:
        user, history, target = self._at(place)
        candidates, letter = self._negatives.candidates(user, target, rng)
        parts = [*self._preference(user, history), self._words(END), *self._prompts.candidate_pool(candidates)]
        return self._answered("intent", parts, self._prompts.answers[letter : letter + 1], len(candidates))

    def _index_preference(self, user: int, _: np.random.Generator) -> Prompted:
        preference = np.concatenate([self._texts.preferences[user], self._texts.ending])
        return self._answered("index-preference", self._user(user), preference)

    def _preference_index(self, user: int, _: np.random.Generator) -> Prompted:
        return self._answered("preference-index", self._preference(user), self._known_index(user))

    def _history_index(self, user: int, _: np.random.Generator) -> Prompted:
        return self._answered("history-index", self._prompts.history(self._train[user]), self._known_index(user))

    def _rating(self, user: int, _: np.random.Generator) -> Prompted:
        shown = newest(self._train[user], self._prompts.history_length)
        ratings = self._rated(int(self._train.offsets[user + 1]) - len(shown), len(shown))
        parts = [
            *self._user(user),
            self._prompts.pieces["after_index"],
            *self._preference(user, self._train[user][:-1]),
        ]
        parts += [self._prompts.pieces["after_index"], self._prompts.pieces["history"]]
        for mark, item, rating in zip(self._prompts.numbers, shown, [*ratings[:-1], ""], strict=False):
            parts += [mark, self._prompts.title(int(item)), self._words(RATED.format(rating) if rating else "")]
        return self._answered("rating", parts, np.concatenate([self._words(ratings[-1]), self._texts.ending]))

    def _answered(self, task: Task, parts: list[Ints], response: Ints, n_letters: int = 0) -> Prompted:
        opening = self._words(OPENING.format(INSTRUCTIONS[task]))
        return _prompted([opening, *parts, self._prompts.pieces["closing"]], response, n_letters)

    def _at(self, place: int) -> tuple[int, Ints, int]:
        """Whose target stands at a place of the train part, what came before it, and the target."""
        user = int(self._owners[place])
        return user, self._train.items[self._train.offsets[user] : place], int(self._train.items[place])

    def _index(self, user: int) -> Ints | None:
        return None if self._texts.index is None else self._texts.index[user]

    def _known_index(self, user: int) -> Ints:
        index = self._index(user)
        if index is None:
            raise ValueError("prompts have no index")
        return index

    def _user(self, user: int) -> list[Ints]:
        return [self._prompts.pieces["user"], self._known_index(user)]

    def _preference(self, user: int, history: Ints | None = None) -> list[Ints]:
        """What a user prefers; with a history, where that can be: by what it alone tells."""
        template = self._texts.template
        told = self._texts.preferences[user] if template is None or history is None else template(history)
        return [self._words(PREFERENCE), told]

    def _rated(self, start: int, n: int) -> list[str]:
        """Ratings from a place of the train part on, empty where unknown."""
        ratings = np.full(n, np.nan) if self._ratings is None else self._ratings[start : start + n]
        return ["" if np.isnan(rating) else RATING.format(rating) for rating in ratings]

    def _last_is_rated(self) -> NDArray[np.bool_]:
        """(n_users,) whose last item of the train part has a rating, and is not their only one."""
        if self._ratings is None or not self._prompts.history_length:
            return np.zeros(len(self._train), np.bool_)
        lasts = self._train.offsets[1:] - 1
        return (np.diff(self._train.offsets) > 1) & np.isfinite(self._ratings)[lasts]


class _Words:
    """Token ids of texts, each made once."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._known: dict[str, Ints] = {"": item_numbers([])}

    def __call__(self, text: str) -> Ints:
        if text not in self._known:
            self._known[text] = token_ids(self._backbone, text)
        return self._known[text]


def _prompted(parts: list[Ints], response: Ints, n_letters: int = 0) -> Prompted:
    return Prompted(np.concatenate([*parts, response]).astype(np.int32), len(response), n_letters)


def _indices(
    backbone: Backbone, prompts: ULMRecPrompts, config: ULMRecConfig, data: RankingData
) -> tuple[Ints, ...] | None:
    match config.index:
        case "none":
            return None
        case "personal":
            return tuple(prompts.index_tokens(index) for index in prompts.indices)
        case words:
            return _tokens(backbone, index_words(words, data.dataset.user_ids))


def _tokens(backbone: Backbone, texts: Sequence[str], n: int | None = None) -> tuple[Ints, ...]:
    """The first ``n`` token ids of each text by itself, none of an empty one."""
    ids = backbone.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return tuple(item_numbers(tokens[:n]) for tokens in ids)
