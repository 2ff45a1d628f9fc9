"""Notebook 10's linearized BERT for a page, which makes the steps itself (page/linear.js).

What it needs is the Gram matrix of the training margins with all margins, in 16 bits, the margins
at the start, the labels at each share of wrong ones, and the recorded runs of the true BERT.
"""

import json
from array import array

import torch

from rlhf_course.experiments.nb10_linear import LAMBDAS, PROBE
from rlhf_course.panels.nb10_finger import TRUE
from rlhf_course.recorded import recorded
from tools.site.tables import chosen_stops, look_of, outside, short_json

MOST = 2**15 - 1


def linear_table(panel, reviews):
    """The table of the panel `finger(reviews)`, as `tables.table` gives one."""
    stops = {c.name: chosen_stops(c, 1000) for c in panel._controls.values()} | {"place": [PROBE]}
    linear, held = reviews.at_probe, reviews.at_probe.held_out
    n = linear.samples
    entries, quantum = gram_in_16_bits(linear.grams.matrices.sum(0), n)
    runs = [
        run for run in recorded("nb10_grid.json")["runs"] if "regularizer" not in run["settings"]
    ]
    names = ("step", "rho", "train_loss", "val_loss", "val_accuracy")
    found = {
        "samples": n,
        "start": [round(y, 6) for y in linear.grams.start.tolist()],
        "quantum": quantum,
        "noises": stops["noise"],
        "labels": ["".join(map(str, reviews.labels(v).tolist())) for v in stops["noise"]],
        "held": "".join(str(int(t[1])) for t in held.targets.tolist()),
        "lambdas": LAMBDAS,
        "true": TRUE,
        "runs": [
            {
                "at": [run["settings"][name] for name in ("lambda_reg", "damping", "noise")],
                "records": [[step[name] for name in names] for step in run["result"]["steps"]],
            }
            for run in runs
        ],
    }
    for name, said in (("lambda_reg", "λ"), ("damping", "μ"), ("noise", "wrong labels")):
        options = sorted({run["settings"][name] for run in runs})
        found.setdefault("unrecorded", []).append(
            f"{said} {' or '.join(f'{v:g}' for v in options)}"
        )
    found["unrecorded"] = (
        "Of the true BERT a page has the recorded runs of all sentences: "
        f"{', '.join(found['unrecorded'])}; in the notebook it runs with any."
    )
    figures = [
        {
            "axes": json.loads(short_json(figure.widget.axes)),
            "traces": [
                json.loads(short_json(look_of(t) | {"x": list(t["x"]), "y": list(t["y"])}))
                for t in figure.widget.data
            ],
        }
        for figure in panel.figures
    ]
    return outside(panel, stops) | {
        "source": "linear",
        "manner": "follows your hand, shows recorded runs on release",
        "preview": "linearized",
        "said": "Computed in this page, from the Gram matrix of the notebook's BERT.",
        "figures": figures,
        "linear": found,
    }, entries


def gram_in_16_bits(K, n):
    """(the lower triangle of K[:n] and then all other rows, as little-endian int16; the quantum).

    K: (n, n + h), of which the first n columns are symmetric.
    """
    rows = [*(K[:, i][: i + 1] for i in range(n)), *K[:, n:].T]
    entries = torch.cat(rows)
    quantum = float(entries.abs().max()) / MOST
    return array("h", (entries / quantum).round().int().tolist()).tobytes(), quantum
