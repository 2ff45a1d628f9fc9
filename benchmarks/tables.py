"""Markdown tables out of the result files; the same results always give the same text."""

from __future__ import annotations

from collections.abc import Iterable

from .contenders import RTOL

MODE_ORDER = ("cpu-1", "wall-2", "cuda")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table: first column to the left, the others to the right."""
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent from 0.001 to 10,000."""
    size = abs(value)
    if 1 <= size < 1e4 or value == 0:
        return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
    return f"{value:#.3g}" if 1e-3 <= size < 1 else f"{value:.1e}"


def costs(entry: dict | None, mode: str, part: str, spread: bool = False) -> str:
    """One cell: the ratio to a gradient, or why there is none."""
    if entry is None:
        return "–"
    if entry["error"]:
        return "failed"
    measured = entry["timings"][mode][part]
    cell = number(measured["ratio"])
    if spread:
        cell += f" ({number(measured['least'])}–{number(measured['most'])})"
    if not entry["wrong"]:
        return cell
    words, value = ("residual", "residual") if "residual" in entry else ("off by", "relative_error")
    return f"{cell} ({words} {entry[value]:.0e})"


def memory(entry: dict | None) -> str:
    """One cell: peak MiB."""
    if entry is None or (entry["memory_mib"] is None and entry["memory_error"] is None):
        return "–"
    return "failed" if entry["memory_mib"] is None else f"{entry['memory_mib']:,.0f}"


def failures(entries: Iterable[dict]) -> str:
    """A line for each contender that failed, in its own words."""
    lines = [f"- {e['contender']}, {e['quantity']}: {e['error']}" for e in entries if e["error"]]
    return "\n".join(["", "Failed:", "", *lines]) if lines else ""


def _rows(problem: dict, quantities: tuple[str, ...]) -> dict[str, dict[str, dict]]:
    """contender -> quantity -> entry, in the order of measuring."""
    rows: dict[str, dict[str, dict]] = {}
    for entry in problem["results"]:
        if entry["quantity"] in quantities:
            rows.setdefault(entry["contender"], {})[entry["quantity"]] = entry
    return rows


def products_table(problem: dict, mode: str, count: int, spread: bool = False) -> str:
    """Hv and Gv of all contenders on one problem."""
    total = f"set-up + {count} products"
    rows = [
        [
            name,
            costs(of.get("Hv"), mode, "product", spread),
            costs(of.get("Hv"), mode, total, spread),
            memory(of.get("Hv")),
            costs(of.get("Gv"), mode, "product", spread),
            costs(of.get("Gv"), mode, total, spread),
            memory(of.get("Gv")),
        ]
        for name, of in _rows(problem, ("Hv", "Gv")).items()
    ]
    head = ["", "Hv", f"set-up + {count} Hv", "MiB", "Gv", f"set-up + {count} Gv", "MiB"]
    return table(head, rows)


def solve_table(problem: dict, mode: str, spread: bool = False) -> str:
    """The damped solve of all contenders on one problem."""
    rows = [
        [
            name,
            costs(of["solve"], mode, "solve", spread),
            "–" if of["solve"]["residual"] is None else f"{of['solve']['residual']:.0e}",
            memory(of["solve"]),
        ]
        for name, of in _rows(problem, ("solve",)).items()
    ]
    return table(["", "gradients", "residual", "MiB"], rows)


def _gradient_line(problem: dict, mode: str) -> str:
    entries = [e for e in problem["results"] if e["quantity"] == "gradient" and not e["error"]]
    parts = []
    for e in entries:
        timing = e["timings"][mode]["gradient"]
        mib = "" if e["memory_mib"] is None else f", {e['memory_mib']:,.0f} MiB"
        parts.append(f"{e['contender']} {timing['seconds']:.3g} s ({number(timing['ratio'])}){mib}")
    return "One gradient: " + "; ".join(parts) + "."


def problem_tables(products: dict, problem: dict, mode: str, spread: bool = False) -> str:
    """Everything measured on one problem in one mode."""
    blocks = [_gradient_line(problem, mode)]
    kinds = {e["quantity"] for e in problem["results"]}
    if kinds & {"Hv", "Gv"}:
        blocks.append(products_table(problem, mode, products["products"], spread))
    if "solve" in kinds:
        shift = f"(G + {problem['shift']} I) d = -g to a relative residual of {RTOL:g}"
        blocks += [f"{shift}:", solve_table(problem, mode, spread)]
    return "\n\n".join(blocks) + failures(problem["results"])


def training_table(task: dict) -> str:
    """All methods on one task: median over the seeds, least and most in brackets."""

    def cell(value: dict) -> str:
        return f"{number(value['median'])} ({number(value['least'])}–{number(value['most'])})"

    rows = []
    for m in task["methods"]:
        if m["error"]:
            rows.append([m["method"], "failed", "–", "–", "–", "–"])
            continue
        t = m["tuning"]
        edge = ", edge of its grid" if t["at_edge"] else ""
        rows.append(
            [
                m["method"],
                cell(m["final_train_loss"]),
                cell(m["least_val_loss"]),
                cell(m["final_val_loss"]),
                number(m["cpu"]["median"]),
                f"{t['what']} {t['value']:g}{edge}; {number(t['cost'])}",
            ]
        )
    head = [
        "",
        "training loss at the end",
        "least validation loss",
        "validation loss at the end",
        "CPU s",
        "tuned to; gradients that took",
    ]
    lines = [f"- {m['method']}: {m['error']}" for m in task["methods"] if m["error"]]
    return table(head, rows) + ("\n".join(["", "", "Failed:", "", *lines]) if lines else "")


def linearized(results: dict) -> str:
    """What a linearized model costs, in gradients and milliseconds, beside real steps."""
    names = {
        "set-up": "set-up, gradients",
        "run": f"a run of {results['steps']} steps, ms",
        "path": f"minima for {results['lambdas']} lambdas, ms",
        "criteria": "leave-one-out, evidence, degrees of freedom of these, ms",
        "real steps": "one step of the real model, gradients",
    }
    in_gradients, problems = ("set-up", "real steps"), results["problems"]

    def cell(problem: dict, key: str) -> str:
        unit = problem["gradient"] if key in in_gradients else 1e-3
        return number(problem[key] / unit)

    rows = [[words, *(cell(p, key) for p in problems)] for key, words in names.items()]
    rows.append(["matrices kept, MiB", *(number(p["kept_mib"]) for p in problems)])
    rows.append(["the Jacobian would be, MiB", *(number(p["jacobian_mib"]) for p in problems)])
    lines = [table(["", *(p["title"] for p in problems)], rows)]
    for problem in problems:
        peer = problem["laplace-torch"]
        if peer is not None:
            lines.append(
                f"- laplace-torch failed: {peer['error']}"
                if peer["error"]
                else f"- {problem['title']}: log evidence {peer['ours']:.3f} in "
                f"{1e3 * peer['our seconds']:.1f} ms, another lambda "
                f"{1e3 * peer['another lambda']:.1f} ms; laplace-torch {peer['evidence']:.3f} in "
                f"{1e3 * peer['seconds']:.1f} ms"
            )
    return "\n\n".join(lines)


def _versions(results: dict) -> str:
    return ", ".join(f"{n} {v}" for n, v in results["versions"].items())


def _measured(results: dict) -> str:
    return f"Measured {results['date']} on {results['machine']}."


def full(products: list[dict], training: dict | None) -> str:
    """Every table of every result, for results/tables.md."""
    blocks = ["# Results", "Made by `python -m benchmarks table`. How to read it: ../README.md"]
    for results in products:
        for problem in results["problems"]:
            for mode in filter(results["modes"].__contains__, MODE_ORDER):
                blocks += [
                    f"## {problem['title']}: {results['modes'][mode]}",
                    problem_tables(results, problem, mode, spread=True),
                ]
        blocks.append(f"{_measured(results)} {_versions(results)}. {results['rounds']} rounds.")
    if training is not None:
        for task in training["tasks"]:
            blocks += [f"## Training: {_task_line(training, task)}", training_table(task)]
        blocks.append(f"{_measured(training)} {_versions(training)}.")
    return "\n\n".join(blocks) + "\n"


def _task_line(training: dict, task: dict) -> str:
    return (
        f"{task['title']}, {task['parameters']:,} parameters, budget {task['budget']} gradients, "
        f"{len(training['seeds'])} seeds"
    )


def _solves(problems: list[dict], mode: str) -> str:
    """The damped solves of several problems side by side."""
    rows = [_rows(problem, ("solve",)) for problem in problems]
    names = dict.fromkeys(name for of in rows for name in of)
    return table(
        ["", *(problem["title"] for problem in problems)],
        [
            [name, *(costs(of.get(name, {}).get("solve"), mode, "solve") for of in rows)]
            for name in names
        ],
    )


def _trained(tasks: list[dict]) -> str:
    """Training and validation loss of several tasks side by side: medians over the seeds."""
    rows = []
    for several in zip(*(task["methods"] for task in tasks), strict=True):
        row = [several[0]["method"]]
        for m in several:
            keys = ("final_train_loss", "least_val_loss")
            row += ["failed"] * 2 if m["error"] else [number(m[key]["median"]) for key in keys]
        rows.append(row)
    words = [
        f"{task['name']}: {loss}"
        for task in tasks
        for loss in ("training loss", "least validation loss")
    ]
    return table(["", *words], rows)


def summary(products: list[dict], training: dict | None) -> str:
    """What benchmarks/README.md shows: CPU seconds at one thread, or a GPU's, medians only."""
    blocks: list[str] = []
    for results in products:
        mode = next(filter(results["modes"].__contains__, MODE_ORDER))
        unit = f"in gradients (forward + backward; {results['modes'][mode]})"
        solved = []
        for problem in results["problems"]:
            kinds = {e["quantity"] for e in problem["results"]}
            if kinds & {"Hv", "Gv"}:
                shown = products_table(problem, mode, results["products"])
                blocks += [f"**{problem['title']}**, {unit}; MiB is peak memory", shown]
            if "solve" in kinds:
                solved.append(problem)
        if solved:
            shift = f"(G + {solved[0]['shift']} I) d = -g to a relative residual of {RTOL:g}"
            blocks += [f"**Damped solve** {shift}, {unit}", _solves(solved, mode)]
        blocks.append(_measured(results))
    if training is not None:
        tasks = training["tasks"]
        lines = "; ".join(f"{task['name']}: {_task_line(training, task)}" for task in tasks)
        blocks += [f"**Training**. {lines}. Medians.", _trained(tasks), _measured(training)]
    return "\n\n".join(blocks)
