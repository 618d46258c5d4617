"""The page about communities: complete, escaped, and on its own."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from support.bundles import make_bundle
from support.portraits import portrait
from support.runs import N_COMMUNITIES, FinishedRun

from models.communities.page import render
from models.communities.pictures import users_picture
from models.communities.portrait import portrait_of
from models.contract.affinity import affinities
from models.contract.errors import BundleError
from models.pipeline import Pipeline

VOID = {"meta"}


class Outline(HTMLParser):
    """What was never closed, all attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_counts_and_items_are_told() -> None:
    shown = portrait()
    outline = Outline(render(shown))
    members = shown.weights > 0
    assert f"{members.sum(axis=0).mean():,.0f} ({members.mean():.1%} of all)" in outline.words
    assert f"{members.any(axis=1).mean():.1%}" in outline.words
    for number in range(3):
        assert f"Community {number}" in outline.words
        assert f"{members[:, number].sum()} users" in outline.text
    assert {"Lamp", "Chair", "c", "Desk", "0.8, epanechnikov"} <= set(outline.words)
    assert "Items in a community" not in outline.text


def test_items_of_communities_are_counted_where_they_have_some() -> None:
    shown = replace(portrait(), item_weights=np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]], np.float32))
    text = Outline(render(shown)).text
    assert "Items in a community, on average 1 (33.3% of all)" in text
    assert "; 2 items" in text


@pytest.mark.parametrize("q", [1, 2, 13, 30])
def test_the_page_is_whole_for_any_number_of_communities(q: int) -> None:
    outline = Outline(render(portrait(q)))
    assert outline.open == []
    ids = [value for name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value for name, value in outline.attributes if name in ("href", "xlink:href") and value}
    assert all(link.startswith(("#", "data:")) for link in links)
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = render(portrait())
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<iframe|@import|\bsrc=|url\((?!#)", page)


def test_what_people_wrote_is_text_and_no_markup() -> None:
    title = "</td><script>alert('1')</script> & $x$ {title}"
    outline = Outline(render(replace(portrait(title=title), name='<b>"shop"')))
    assert outline.open == []
    assert title in outline.words
    assert 'Communities of <b>"shop"' in outline.words


def test_a_long_title_is_shortened() -> None:
    (word,) = {word for word in Outline(render(portrait(title="x" * 5000))).words if word.startswith("xxx")}
    assert len(word) == 120
    assert word.endswith("x…")


def test_pictures_have_words_for_who_does_not_see_them() -> None:
    attributes = Outline(render(portrait())).attributes
    labels = [value for name, value in attributes if name == "aria-label"]
    assert [label.partition(".")[0] for label in labels if label] == ["Users and anchors", "Sizes", "Overlap"]
    assert ("lang", "en") in attributes


def test_the_same_communities_give_the_same_page() -> None:
    assert render(portrait()) == render(portrait())


class TestMap:
    def test_is_wellformed_and_numbers_the_anchors(self) -> None:
        shown = portrait()
        picture = ElementTree.fromstring(  # noqa: S314 - we wrote it
            users_picture(shown.embeddings, shown.anchors, shown.weights)
        )
        texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
        assert {"0", "1", "2"} <= set(texts)
        assert any(text and text.startswith("first direction") for text in texts)

    def test_draws_a_bounded_number_of_users(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = portrait(n=400)
        monkeypatch.setattr("models.communities.pictures.DRAWN_USERS", 60)
        some = users_picture(shown.embeddings, shown.anchors, shown.weights)
        monkeypatch.setattr("models.communities.pictures.DRAWN_USERS", 20)
        fewer = users_picture(shown.embeddings, shown.anchors, shown.weights)
        assert 30 < some.count("<use") - fewer.count("<use") < 50  # axes have marks, too

    def test_of_one_dimension(self) -> None:
        users = np.array([[1.0], [-1.0], [2.0]], np.float32)
        assert "100% of the variance" in users_picture(users, users[:1], np.ones((3, 1), np.float32))

    def test_of_users_who_are_all_alike(self) -> None:
        users = np.ones((4, 3), np.float32)
        assert "0% of the variance" in users_picture(users, users[:1], np.zeros((4, 1), np.float32))


class TestOfABundle:
    def test_shows_what_is_served(self, finished_run: FinishedRun) -> None:
        shown = portrait_of(finished_run.bundle)
        dataset = Pipeline(finished_run.directory, finished_run.config, lambda line: None).results.dataset()
        assert shown.weights.shape == (len(dataset.user_ids), N_COMMUNITIES)
        expected = affinities(shown.anchors, shown.embeddings, shown.bandwidth, shown.kernel)
        np.testing.assert_allclose(shown.weights, expected, atol=1e-3)  # Redis holds float16
        np.testing.assert_array_equal(shown.histories.items, dataset.full.items)
        assert f"Communities of {finished_run.bundle.id}" in Outline(render(shown)).words

    def test_of_a_run_shows_what_was_trained_on(self, finished_run: FinishedRun) -> None:
        pipeline = Pipeline(finished_run.directory, finished_run.config, lambda line: None)
        shown = pipeline.results.portrait()
        np.testing.assert_array_equal(shown.weights, pipeline.results.affinities())
        np.testing.assert_array_equal(shown.histories.items, pipeline.results.dataset().train.items)
        assert shown.item_weights is None

    def test_items_follow_the_settings_that_the_bundle_was_made_with(self, finished_run: FinishedRun) -> None:
        bundle = finished_run.bundle
        communities = bundle.manifest.config["communities"] | {"assignment": "user-item", "bandwidth": 1.0}
        manifest = msgspec.structs.replace(bundle.manifest, config={"communities": communities})
        shown = portrait_of(replace(bundle, manifest=manifest))
        assert shown.item_weights is not None
        assert shown.item_weights.shape == (len(shown.catalogue), N_COMMUNITIES)

    def test_a_bundle_without_profiles_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"profiles/users\.parquet cannot be read"):
            portrait_of(make_bundle(tmp_path))
