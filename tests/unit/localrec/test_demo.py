"""What the demo prints."""

from localrec.demo import Example, _as_text


def test_an_item_names_every_voters_rank_communities_by_number_others_by_name() -> None:
    explanation = [
        {"community": 3, "name": "Toy Story · Babe", "rank": 2, "affinity": 0.5, "contribution": 1.0},
        {"community": None, "name": "cf", "rank": 7, "affinity": None, "contribution": 0.5},
    ]
    item = {"item_id": "1", "title": "Aladdin", "rank": 1, "source": "local", "explanation": explanation}
    answer = {"timings_ms": {"total": 12.0}, "pipeline": "local", "reasons": ["late: c01"], "items": [item]}
    text = _as_text(Example("somebody", {}), answer)
    assert "late: c01" in text
    assert "Aladdin" in text
    assert text.rstrip().endswith("c03:2  cf:7")
