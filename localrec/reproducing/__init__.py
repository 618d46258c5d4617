"""``localrec reproduce``: a paper's own tables and figures, on its own protocol."""

import click

from localrec.lazy import LazyGroup


class Papers(LazyGroup):
    """The papers whose protocol is another one than that of ``localrec evaluate``."""

    places = {  # noqa: RUF012 - the base class says that it is the class's
        "collm": ("localrec.reproducing.collm:collm", "train", "CoLLM: AUC, UAUC and NDCG on labelled pairs."),
        "hatllm": ("localrec.reproducing.hatllm:hatllm", "train", "HatLLM: HR and NDCG on windows, ablations."),
        "ulmrec": (
            "localrec.reproducing.ulmrec:ulmrec",
            "train",
            "ULMRec: re-ranking by LlamaRec's protocol, ablations.",
        ),
        "l2rec": ("localrec.reproducing.l2rec:l2rec", "train", "L2Rec: HR and NDCG, ablations, limited data, routers."),
    }


@click.group(cls=Papers)
def reproduce() -> None:
    """A paper's own tables and figures; every row is kept, an interrupted run goes on."""
