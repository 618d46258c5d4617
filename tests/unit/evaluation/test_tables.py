"""Tables for the terminal and for files."""

from dataclasses import replace

import pytest
from support.evaluations import evaluation

from models.evaluation.measure import Evaluation
from models.evaluation.metrics import Difference, Interval
from models.evaluation.tables import as_markdown, as_text, fusions_table, gains_table, half


def with_gain(p_value: float) -> Evaluation:
    """The evaluation, with one gain of known size over a baseline of NDCG@3 0.2."""
    made = evaluation()
    gain = Difference(Interval(0.05, 0.04, 0.06), p_value)
    ndcg = made.rows[1].metrics | {"NDCG@3": Interval(0.25, 0.2, 0.3)}
    good = replace(made.rows[1], metrics=ndcg, gains=dict.fromkeys(made.rows[1].gains, gain))
    return replace(made, rows=(made.rows[0], good))


def test_half_of_an_interval() -> None:
    assert half(Interval(0.5, 0.25, 0.75)) == 0.25


class TestText:
    def test_has_a_title_and_a_line_a_model_whose_columns_end_together(self) -> None:
        title, header, *lines = as_text(evaluation((1, 5, 10))).splitlines()

        assert title == "toys: 6 test items, full ranking of 12; gain of NDCG@10 over popular"
        assert header.split()[:6] == ["HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10", "MRR@10"]
        assert [line.split()[0] for line in lines] == ["popular", "good"]
        assert lines[1][: header.index("HR@1") + 4].endswith("0.1667")
        assert max(map(len, lines)) < 120

    def test_the_baseline_has_no_gain(self) -> None:
        popular, good = as_text(with_gain(0.0123)).splitlines()[2:]

        assert good.endswith("+0.0500  0.012")
        assert popular.endswith("%")

    def test_says_that_candidates_were_sampled(self) -> None:
        assert "6 test items, 1 + 99 sampled of 12" in as_text(evaluation(protocol="sampled"))

    def test_other_cutoffs_are_shown_as_they_are(self) -> None:
        header = as_text(evaluation((2, 4))).splitlines()[1]
        assert header.split()[:6] == ["HR@2", "NDCG@2", "MRR@2", "HR@4", "NDCG@4", "MRR@4"]


class TestMarkdown:
    def test_says_how_to_make_it_again(self) -> None:
        heading = as_markdown(evaluation()).split("\n## ")[0]

        assert heading.startswith("# toys\n\n- 6 test items, full ranking of 12\n")
        assert "- commit: abc1234" in heading
        assert "- hardware: a machine" in heading
        assert "```\nlocalrec evaluate --run runs/toys\n```" in heading

    def test_has_a_table_for_all_that_is_measured(self) -> None:
        titles = [part.splitlines()[0] for part in as_markdown(evaluation()).split("\n## ")[1:]]

        assert titles == [
            "Metrics, mean ± half of the 95 % interval (Recall = HR)",
            "Gain over popular, paired; bold: p < 0.05",
            "NDCG@3 by history length",
            "NDCG@3 by target's training interactions",
            "The catalogue in the first 3 places",
            "Fusion settings, chosen on validation items ranked among all items",
        ]

    def test_every_row_has_a_cell_for_every_column(self) -> None:
        for part in as_markdown(evaluation()).split("\n## ")[1:]:
            cells = {line.count("|") for line in part.splitlines() if line.startswith("|")}
            assert len(cells) == 1

    def test_says_what_the_fused_rows_were_fused_with(self) -> None:
        assert as_markdown(evaluation()).endswith(
            "| model | settings |\n| --- | --- |\n| good | rrf, k = 10, cf 0.5 |\n"
        )
        assert "Fusion" not in as_markdown(replace(evaluation(), fusions={}))

        table = fusions_table(replace(evaluation(), seeds=(3, 5), fusions={"good": ("count", "scores")}))
        assert table.header == ("model", "seed 3", "seed 5")
        assert table.rows == (("good", "count", "scores"),)

    def test_says_that_fusion_was_not_chosen_on_sampled_candidates(self) -> None:
        assert "ranked among all items, not among sampled ones" in as_markdown(evaluation(protocol="sampled"))

    def test_means_stand_beside_half_their_interval(self) -> None:
        made = with_gain(0.5)
        assert "0.2500 ± 0.0500" in as_markdown(made)


@pytest.mark.parametrize(
    ("p_value", "cell"),
    [
        (0.2, "+0.0500 ± 0.0100, p 0.200"),
        (0.04, "**+0.0500 ± 0.0100**, p 0.040"),
        (0.0005, "**+0.0500 ± 0.0100**, p < 0.001"),
    ],
)
def test_significant_gains_are_bold(p_value: float, cell: str) -> None:
    table = gains_table(with_gain(p_value))

    assert table.rows == (("good", cell, cell, cell, "+25.0%"),)
