"""Notebook 17: the ledger of the article's claims, their comparisons, and one tested again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels import Panel, charts, slider
from rlhf_lib.panels import choice as drop_down
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.intervals import Intervals
from rlhf_lib.panels.theme import GREY, PALETTE
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..claims import Judged, interval
from ..experiments.nb17_retest import ADAM, DEFAULT, RETESTS, TUNED
from ..recorded import results
from ..studies import nb17_rule
from ..table import Table
from ..verdicts.comparison import AGAINST, FOR, OPEN, SAME, Comparison
from ..verdicts.rule import DEPENDS, NO_DIFFERENCE, NOT_ENOUGH, REFUTED, SUPPORTED

WORDS = [SUPPORTED, REFUTED, NO_DIFFERENCE, DEPENDS, NOT_ENOUGH]
SAID = (FOR, SAME, OPEN, AGAINST)
SECOND_ORDER, CROSS_VALIDATION = "less overfitting by second order", "λ by cross-validation"
Book = Mapping[str, Judged]

choice(
    "17.adam",
    "“Second order converges faster than Adam.” Which word will the rule give?",
    WORDS,
    truth=WORDS.index(DEPENDS),
    why="On the digits an Adam with a schedule is ahead at equal gradients; on a BERT's top layer "
    "RLHF is, by gradients and by CPU seconds.",
)
choice(
    "17.second_order",
    "“Because it sees the curvature, second order overfits less.” Which word?",
    WORDS,
    truth=WORDS.index(REFUTED),
    why="Without a penalty, and tuned at one price, RLHF ends level with AdamW on the reviews and "
    "on SST-2: there is no difference that matters. None is for the claim.",
)
choice(
    "17.cross_validation",
    "“λ should be chosen by cross-validation.” Which word?",
    WORDS,
    truth=WORDS.index(SUPPORTED),
    why="It beats next to no penalty by far, and one held-out fifth by 0.04 nats, which takes "
    "hundreds of seeds to see.",
)

# What a row's name leaves out: the text beside the chart says it.
_SHORTER = (
    ("digits, RLHF without a penalty against", "no penalty, against"),
    ("RLHF without a penalty against", "no penalty, against"),
    ("reviews, BERT's top layer, RLHF against ", "BERT, "),
    ("digits, RLHF against ", ""),
    ("RLHF against ", "against "),
    (", gap at equal CPU seconds", ", seconds"),
    ("adamw", "AdamW"),
    (", gap at equal ", ", "),
    (", test loss at the end", ""),
    (", validation loss at the end", ""),
    ("decoupled weight decay leaves more than half of the rise", "decay"),
    ("dropout leaves more than half of the rise", "dropout"),
    (", training loss before less after", ""),
    ("RLHF, loss on unseen samples, before less after", "before and after"),
    (", loss on unseen samples", ""),
    ("SST-2, top layer", "SST-2"),
    ("reviews, top layer", "reviews"),
    ("λ by 5-fold cross-validation against none, test loss", "folds against no penalty"),
    ("λ by 5-fold cross-validation against one split, test loss", "folds against one split"),
    (", accuracy above the whole model's less 0.02", ""),
    (", 25% of the bytes", ""),
    (", 78% of the bytes", ""),
    (", 84% of the bytes", ""),
    ("BERT-base's dense Hessian, 48 PB, against 1 TiB of memory", "the matrix against 1 TiB"),
    (
        "a Hessian product of a 22.7-million-weight BERT against 10 gradients",
        "a product against 10 gradients",
    ),
    (
        "BERT, 64 sentences, one solve in sample space against CG, gradients",
        "sample space: BERT, one solve",
    ),
    (
        "MLP, batch 64, one solve in sample space against CG, gradients",
        "sample space: MLP, one solve",
    ),
    (
        "digits, RLHF in sample space against CG, least validation loss at equal gradients",
        "sample space: digits, training",
    ),
    (
        "reviews, RLHF in sample space against CG, least validation loss at equal gradients",
        "sample space: reviews, training",
    ),
    ("a step by one inverse for each matrix, within 10% of Newton's", "the sketch: its step"),
    (
        "bert with fused attention: scaled_dot_product_flash_attention_for_cpu has no second "
        "derivative in PyTorch, and curvature products need it",
        "bert, fused attention",
    ),
    ("the largest second derivative of Σ|θ| is 0", "second derivative of Σ|θ|"),
    ("two layers, with a teacher against labels alone, validation ", "with a teacher, "),
    (", test loss", ""),
)


def short(about: str) -> str:
    """A comparison's name with what its chart needs."""
    for long, brief in _SHORTER:
        about = about.replace(long, brief)
    return about


def named(c: Comparison) -> str:
    """Its short name, and that the verdict does not rest on it, where that is so."""
    return short(c.about) + ("" if c.primary else " (beside)")


# The title and the legend begin over the rows' names, which need much of the width.
LEFT = {part: {"x": 0.01, "xref": "container"} for part in ("title", "legend")}


def count(judged: Judged, word: str) -> int:
    """How many of the comparisons that a verdict rests on say this word."""
    return sum(c.says == word for c in judged.comparisons if c.primary)


def ledger_table(book: Book) -> Table:
    """A row for each claim."""
    rows = []
    for name, judged in book.items():
        measured = {(len(c.benefits), c.of) for c in judged.comparisons if not c.exact}
        rows.append(
            {
                "claim": name,
                "verdict": judged.verdict,
                "tested on": judged.claim.tested_on,
                "about": judged.claim.quantifier,
                **{word: count(judged, word) for word in SAID},
                "numbers of": ", ".join(f"{n} {of}" for n, of in sorted(measured)),
                "would decide": f"{judged.more} seeds" if judged.more else "",
            }
        )
    return Table(rows, caption="The ledger: what each comparison says, and the verdict")


def operating(document: Mapping[str, Any]) -> Table:
    """How often the rule gives which verdict on a claim about all, by what is true."""
    rows = []
    for truth in ("nothing in two", "of 1 in two", "of 1 in one, of -1 in another"):
        for looks in nb17_rule.PLANS:
            (found,) = results(document, [nb17_rule.settings(truth, "all", looks)])
            planned = len(looks) > 1
            rows.append(
                {
                    "true benefit": truth.removeprefix("of "),
                    "seeds": f"up to {looks[-1]}" if planned else str(looks[0]),
                    **{word: 100 * found["shares"].get(word, 0.0) for word in WORDS},
                    "mean seeds": found["mean_seeds"],
                }
            )
    percent = {word: ".0f" for word in WORDS}
    return Table(rows, caption="Verdicts in percent of 1,000 simulated claims", formats=percent)


def ledger_chart(book: Book) -> Figure:
    """For each claim how many of its comparisons say which word."""
    names = list(book)
    words = [judged.verdict for judged in book.values()]
    found = ", ".join(f"{words.count(w)} {w}" for w in WORDS)
    looks = (
        (FOR, PALETTE[0], ""),
        (SAME, PALETTE[2], "x"),
        (OPEN, GREY, "."),
        (AGAINST, PALETTE[1], "/"),
    )
    bars = [
        go.Bar(
            x=[count(book[name], word) for name in names],
            y=list(range(len(names))),
            name=word,
            orientation="h",
            marker={"color": colour, "pattern": {"shape": pattern, "fillmode": "overlay"}},
        )
        for word, colour, pattern in looks
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.25,
        "yaxis": {"tickvals": list(range(len(names))), "ticks": "", "ticktext": names},
        "margin": {"l": 250},
    }
    return Figure(
        charts.still(bars),
        legend=True,
        title="Comparisons of each claim",
        x_title="comparisons",
        x_range=[0, 10.5],
        y_range=[len(names) - 0.5, -0.5],
        height=92 + 22 * len(names),
        layout=layout | LEFT,
        readout=f"The verdicts: {found}.",
    )


def differences(book: Book, names: Sequence[str], unit: str, **axes: Any) -> Figure:
    """The mean benefit of each comparison of these claims in this unit, with its interval."""
    rows, marked = {}, []
    for name in names:
        for c in book[name].comparisons:
            if c.unit == unit:
                rows[named(c)] = (c.mean, *c.interval)
                if c.says == OPEN:
                    marked.append(named(c))
    said = [c.says for name in names for c in book[name].comparisons if c.unit == unit]
    verdicts = "; ".join(f"{name}: {book[name].verdict}" for name in names)
    return ranking(
        rows,
        marked=marked,
        x_title=f"benefit ({unit})",
        title="Mean benefits: for the claim is to the right",
        readout=f"{said.count(FOR)} for, {said.count(AGAINST)} against, {said.count(SAME)} without "
        f"a difference that matters, {said.count(OPEN)} open (diamonds). {verdicts}.",
        **axes,
    )


def ranking(rows: Mapping[str, tuple[float, float, float]], **axes: Any) -> Figure:
    """Means with their intervals, a row each, about a line at no difference."""
    return charts.ranking(rows, lines={"no difference": 0.0}, layout=LEFT, **axes)


def numbers(book: Book, names: Sequence[str]) -> Table:
    """The comparisons of these claims in numbers."""
    rows = [
        {
            "claim": name,
            "comparison": named(c),
            "mean": c.mean,
            "low": c.interval[0],
            "high": c.interval[1],
            "unit": c.unit,
            "says": c.says,
        }
        for name in names
        for c in book[name].comparisons
    ]
    signed = {column: "+.3f" for column in ("mean", "low", "high")}
    return Table(rows, caption="Mean benefits with their 95 % intervals", formats=signed)


# -- the panels -------------------------------------------------------------------------------


def scaled(judged: Judged) -> dict[str, tuple[tuple[float, ...], float, float]]:
    """The comparisons of a claim, each as shares of its own largest number."""
    found = {}
    for c in judged.comparisons:
        low, high = c.interval
        largest = max(abs(x) for x in (*c.benefits, low, high) if math.isfinite(x)) or 1.0
        dots = tuple(b / largest for b in c.benefits)
        found[named(c)] = (dots, low / largest, high / largest)
    return found


def ledger_panel(pick: Callable[..., Iterable[Record]], book: Book) -> Panel:
    """`pick(claim)` yields one record, with the judged claim in `extra`."""
    return Panel(
        pick,
        controls=[drop_down("claim", "claim", list(book), ADAM)],
        figures=[
            Intervals(
                lambda r: scaled(r.extra["judged"]),
                max(len(judged.comparisons) for judged in book.values()),
                title="For the claim is to the right of 0",
                x_range=[-1.1, 1.1],
                x_title="share of the row's largest",
                # One room for the rows' names, whatever claim is shown.
                layout=LEFT | {"yaxis": {"automargin": False}, "margin": {"l": 262, "t": 76}},
            )
        ],
        readout=_read_claim,
        title="Fourteen claims",
        keep=0,
    )


def _read_claim(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    judged = records[-1].extra["judged"]
    claim, means = judged.claim, {}
    for c in judged.comparisons:
        means.setdefault(c.unit, []).append(f"{c.mean:+.2g}")
    listed = "; ".join(f"{', '.join(some)} {unit}" for unit, some in means.items())
    return (
        f"The article: {claim.words} Our test: {claim.test} Means, from the top: {listed}. "
        f"Verdict on a claim about {claim.quantifier}: {judged.says}. {claim.note}"
    )


def again(retest: Callable[..., Iterable[Record]], book: Book) -> Panel:
    """`retest(claim, baseline, first, seeds)` yields a record a seed, with all `benefits`."""

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        _, about, unit = RETESTS[values["claim"]]
        found = Comparison(about, records[-1].extra["benefits"], unit)
        against = "" if "faster" not in values["claim"] else f" ({values['baseline']})"
        return f"{found}{against}. The ledger's verdict: {book[values['claim']].says}."

    return Panel(
        retest,
        controls=[
            drop_down("claim", "claim", list(RETESTS), ADAM),
            drop_down("baseline", "baseline", [TUNED, DEFAULT]),
            slider("first", "first seed", low=0, high=80, step=1, value=20),
            slider("seeds", "seeds", low=1, high=20, step=1, value=3),
        ],
        figures=[
            Intervals(
                _yours,
                1,
                title="Your seeds: for is to the right of 0",
                x_range=[-1.5, 2.5],
                x_title="benefit, in the unit of the read-out",
                height=220,
                goal={"x": (0, 2.5)},
            )
        ],
        readout=read,
        total=lambda values: values["seeds"],
        title="One claim, other seeds",
        goal="with at least three seeds, second order faster than Adam, the whole interval above 0",
        reached=reached("17.untuned"),
        on_release=False,
        keep=0,
    )


def _yours(record: Record) -> dict[str, tuple[Sequence[float], float, float]]:
    benefits = record.extra["benefits"]
    low, high = interval(benefits)
    return {"yours": (benefits, max(low, -9.0), min(high, 9.0))}
