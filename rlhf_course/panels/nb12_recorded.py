"""Notebook 12's records: cures of overfitting at equal gradients, on two data sets."""

from __future__ import annotations

from typing import Any

from rlhf_lib.panels import charts
from rlhf_lib.panels.figure import Figure

from ..experiments.nb12_cures import BARE_RATE
from ..experiments.nb12_record import CuresRecord
from ..table import Table

PARTS = {
    "l1": "L1",
    "l2": "L2",
    "l2sp": "L2-SP",
    "l1sp": "L1-SP",
    "none": "alone",
    "linear": "with a schedule",
    "stopped": "stopped early",
    "bare": f"at {BARE_RATE:g}",
    "bare-stopped": f"at {BARE_RATE:g}, stopped early",
    "dropout": f"at {BARE_RATE:g}, dropout",
    "decay": f"at {BARE_RATE:g}, decay",
}
PROBE = "probe none"
SHORT = {"lambda_reg": "λ", "damping": "μ", "lr": "rate", "dropout": "dropout"}
CARELESS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("RLHF alone", {"method": "rlhf none"}, "damping"),
    ("RLHF L2-SP, λ = 1", {"method": "rlhf l2sp", "lambda_reg": 1.0}, "damping"),
    ("AdamW with a schedule", {"method": "adamw linear"}, "lr"),
    ("AdamW L2-SP, λ = 1", {"method": "adamw l2sp", "lambda_reg": 1.0}, "lr"),
)
JUDGED = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "accuracy",
    "ece": "ECE",
    "distance": "distance",
    "unmoved": "unmoved",
    "cost": "cost",
}


def named(method: str) -> str:
    """'rlhf l2sp' as it is shown: 'RLHF L2-SP'."""
    optimizer, part = method.split()
    if method == PROBE:
        return "the probe"
    return f"{'RLHF' if optimizer == 'rlhf' else 'AdamW'} {PARTS.get(part, part)}"


def gains(record: CuresRecord) -> Figure:
    """How far below the probe's test loss each method ends, with the interval of the mean."""
    rows, ahead = {}, []
    for method in by_loss(record):
        if method == PROBE:
            continue
        gain = record.gain(method, PROBE)
        rows[named(method)] = (gain.mean, *gain.interval)
        ahead += [named(method)] if gain.says == "for" else []
    far = max(abs(value) for row in rows.values() for value in row)
    return charts.ranking(
        rows,
        lines={"the probe": 0.0},
        marked=[name for name in rows if name.startswith("RLHF")],
        title="Gain in test loss over the probe (recorded)",
        x_range=[-1.05 * far, 1.05 * far],
        x_title=f"nats: mean of {len(record.seeds)} seeds, 95 % interval",
        readout=f"Right is better. Ahead of the probe beyond chance: {', '.join(ahead) or 'none'}. "
        "Diamonds are RLHF; intervals are over seeds and sentences.",
    )


def judged(record: CuresRecord) -> Table:
    """What each method was given, and what came of it."""
    rows = []
    for method in by_loss(record):
        chosen = record.chosen[method]
        rows.append(
            {
                "": named(method),
                "chosen": ", ".join(
                    f"{SHORT[key]} {chosen[key]:g}" for key in SHORT if key in chosen
                ),
            }
            | {name: record.mean(method, key) for key, name in JUDGED.items()}
        )
    return Table(
        rows,
        caption=f"{record.cures.name}, means of {len(record.seeds)} seeds (recorded)",
        formats=dict.fromkeys(JUDGED.values(), ".3f") | {"distance": ".2f", "cost": ".1f"},
    )


def by_loss(record: CuresRecord) -> list[str]:
    """The methods by mean test loss, the best first."""
    return sorted(record.cures.methods, key=lambda m: record.mean(m, "test_loss"))


def careless(record: CuresRecord) -> dict[str, dict[float, float]]:
    """Mean selection loss at the end by rate, or by damping, with L2-SP at one lambda and without.

    From the runs that tuned: what comes of a setting that nobody tuned.
    """
    found: dict[str, dict[float, float]] = {}
    for name, fixed, tuned in CARELESS:
        losses: dict[float, list[float]] = {}
        for run in record.document["runs"]:
            settings = run["settings"]
            if settings["seed"] not in record.seeds and fixed.items() <= settings.items():
                losses.setdefault(settings[tuned], []).append(run["result"]["end"]["val_loss"])
        found[name] = {value: sum(losses[value]) / len(losses[value]) for value in sorted(losses)}
    return found


def untuned(record: CuresRecord) -> Table:
    """The least and the greatest of these losses, over the values that were tried."""
    return Table(
        [
            {
                "": name,
                "tried": f"{SHORT[tuned]} from {min(losses):g} to {max(losses):g}",
                "least loss": min(losses.values()),
                "greatest loss": max(losses.values()),
            }
            for (name, losses), (_, _, tuned) in zip(
                careless(record).items(), CARELESS, strict=True
            )
        ],
        caption="Selection loss at the end, by a setting that one may get wrong (recorded)",
        formats={"least loss": ".3f", "greatest loss": ".3f"},
    )
