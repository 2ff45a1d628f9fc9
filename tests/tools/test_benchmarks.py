"""The harness of the benchmarks on tiny problems: what it reports is what it measured.

No peer has to be installed: one that is missing is reported, which is tested, too.
"""

import copy
import json
import platform
import re
from xml.etree import ElementTree

import pytest
import torch
from cases import close

from benchmarks import (
    RESULTS,
    __main__,
    linearized,
    machine,
    memory,
    plots,
    problems,
    products,
    report,
    sparse,
    tables,
)
from benchmarks.contenders import CONTENDERS, Contender, contender, find
from benchmarks.measure import CPU_1, WALL_2, failure, modes, summary
from benchmarks.methods import METHODS, Method
from benchmarks.tasks import digits
from benchmarks.training import FIELDS, run_method, run_once, stuck, tune, within
from benchmarks.training import run as run_training
from benchmarks.truth import Truth, relative_residual
from rlhf_lib import GaussNewtonOperator, HessianOperator


def quiet(_):
    pass


def broken(problem):
    raise RuntimeError("no such kernel\nand a long trace")


def twice(problem):
    product = HessianOperator(problem.loss, problem.params)
    return lambda v: 2 * (product @ v)


PLANTED = [
    Contender("Hv", "broken", "nowhere", broken),
    Contender("Hv", "twice", None, twice),
    Contender("solve", "lazy", None, lambda problem, b, shift: b / shift),
]
METHOD = {m.name: m for m in METHODS}


@pytest.fixture(scope="module")
def measured():
    """Products of this library, and three that fail in different ways, on the tiny problems."""
    chosen = [c for c in CONTENDERS if c.package is None] + PLANTED
    # Two threads on a busy machine wait for one another, at length.
    return products.run(fast=True, memory=False, contenders=chosen, timing=[CPU_1], say=quiet)


@pytest.fixture(scope="module")
def trained():
    wrong = Method("wrong", lambda named, value: None, "lr", METHOD["AdamW"].grid)
    return run_training(fast=True, methods=[METHOD["RLHF, CG"], wrong, METHOD["AdamW"]], say=quiet)


def entries(results):
    return [e for problem in results["problems"] for e in problem["results"]]


def test_every_contender_is_timed_in_every_mode_with_positive_ratios(measured):
    assert [p["name"] for p in measured["problems"]] == ["tiny-bert", "tiny-mlp"]
    json.dumps(measured)
    for e in entries(measured):
        if e["error"]:
            continue
        assert set(e["timings"]) == set(measured["modes"]) == {"cpu-1"}
        for parts in e["timings"].values():
            expected = {"gradient": {"gradient"}, "solve": {"solve"}}.get(
                e["quantity"], {"set-up", "product", "set-up + 3 products"}
            )
            assert set(parts) == expected
            for t in parts.values():
                assert 0 < t["least"] <= t["ratio"] <= t["most"] and t["seconds"] > 0


def test_a_failing_contender_is_reported_and_the_others_are_measured(measured):
    for problem in measured["problems"]:
        by_name = {e["contender"]: e for e in problem["results"]}
        assert by_name["broken"]["error"] == "RuntimeError: no such kernel"
        assert by_name["broken"]["timings"] == {}
        assert by_name["rlhf_lib, CG"]["timings"]["cpu-1"]["solve"]["ratio"] > 0


def test_own_results_are_right_and_wrong_ones_are_called_wrong(measured):
    for e in entries(measured):
        if e["contender"].startswith("rlhf_lib") and not e["error"]:
            assert not e["wrong"]
            assert e["quantity"] == "gradient" or e.get("residual", 0) < 1.5e-4
            assert (e.get("relative_error") or 0.0) < 1e-5
        elif e["contender"] == "twice":
            assert e["wrong"] and e["relative_error"] == pytest.approx(1.0, abs=1e-3)
        elif e["contender"] == "lazy":
            assert e["wrong"] and e["residual"] > 1e-2


def test_the_table_of_sparse_models_is_that_of_the_record():
    measured = json.loads((RESULTS / "sparse.json").read_text())
    assert sparse.table(measured) in report.README.read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peers' own imports
@pytest.mark.parametrize("name", ["tiny-mlp", "tiny-bert"])
def test_a_peer_is_right_or_missing(name):
    found = products.run_problem(
        name,
        ("Hv", "Gv", "solve"),
        device="cpu",
        rounds=1,
        products=1,
        memory=False,
        say=quiet,
        contenders=[c for c in CONTENDERS if c.package],
        timing=[CPU_1],
    )
    assert len(found["results"]) == len([c for c in CONTENDERS if c.package])
    for e in found["results"]:
        if e["error"]:
            assert e["error"].startswith("ModuleNotFoundError"), e
        # Its nested forward mode is wrong through LayerNorm, which the MLP does not have.
        elif not (
            name == "tiny-bert"
            and e["contender"].startswith("curvlinops")
            and e["quantity"] == "Hv"
        ):
            assert not e["wrong"], e


@pytest.mark.parametrize("name", ["tiny-mlp", "tiny-bert"])
def test_the_truth_agrees_with_double_backward(name):
    problem = problems.load(name)
    truth, exact, v = Truth(problem), problem.double(), problem.vector().double()
    close(truth.hessian(v), HessianOperator(exact.loss, exact.params) @ v, rtol=1e-7)
    G = GaussNewtonOperator(exact.closure, exact.params)
    close(truth.gauss_newton(v), G @ v, rtol=1e-7)
    assert relative_residual(truth, v, G @ v + 0.5 * v, 0.5) < 1e-7
    assert relative_residual(truth, v, G @ v, 0.5) > 1e-3
    for p, q in zip(truth.problem.params, exact.params, strict=True):
        assert torch.equal(p, q)


def test_a_low_precision_forward_stays_near_the_float32_one():
    problem = problems.load("toy-bf16")
    found = products.run_problem(
        "toy-bf16",
        ("Hv", "Gv"),
        device="cpu",
        rounds=1,
        products=1,
        memory=False,
        say=quiet,
        contenders=[c for c in CONTENDERS if c.name == "rlhf_lib, graph kept"],
        timing=[CPU_1],
    )
    assert problem.params[0].dtype == torch.float32 and "bfloat16" in problem.title
    for e in found["results"]:
        assert e["error"] is None and not e["wrong"]
        assert e["relative_error"] > 1e-5  # float32 would be closer: autocast is at work


def test_ratios_are_taken_round_by_round():
    assert summary([1.0, 4.0, 3.0], [1.0, 2.0, 3.0]) == {
        "seconds": 3.0,
        "ratio": 1.0,
        "least": 1.0,
        "most": 2.0,
    }
    assert failure(ValueError()) == "ValueError"
    threads = torch.get_num_threads()
    for mode, wanted in zip(modes("cpu"), (1, 2), strict=True):
        with mode.active():
            assert torch.get_num_threads() == wanted
        assert torch.get_num_threads() == threads
    assert modes("cpu") == (CPU_1, WALL_2)


def test_memory_is_measured_in_a_process_of_its_own():
    gradient = find("gradient", "torch.autograd.grad")
    assert 0 <= memory.in_fresh_process(gradient, "tiny-mlp", "cpu", 1.0)["mib"] < 50


def test_that_process_says_why_it_failed():
    nobody = Contender("Hv", "nobody", None, lambda problem: None)
    found = memory.in_fresh_process(nobody, "tiny-mlp", "cpu", 1.0)
    assert found == {"error": "ValueError: expected a contender for 'Hv', got 'nobody'"}


def test_a_run_keeps_to_its_budget():
    task = digits(0, fast=True)
    points = run_once(task, METHOD["AdamW"], 1e-2, seed=0)
    assert [p["cost"] for p in points] == [0, 1, 2, 3, 4]
    assert points[-1]["train_loss"] < points[0]["train_loss"]
    assert all(set(p) == set(FIELDS) for p in points)
    assert all(p["cpu"] > 0 and p["seconds"] > 0 for p in points[1:])
    again = run_once(digits(0, fast=True), METHOD["AdamW"], 1e-2, seed=0)
    assert [p["val_loss"] for p in again] == [p["val_loss"] for p in points]
    second = run_once(digits(0, fast=True), METHOD["RLHF, CG"], 1.0, seed=0)
    assert within(second, 4)[-1]["cost"] <= 4 <= second[-1]["cost"]
    assert within(second, 0) == second[:1]


def test_a_method_that_has_come_to_rest_is_stopped():
    points = [{"train_loss": 1.0 / i} for i in range(1, 30)]
    assert not stuck(points)
    assert stuck([*points, *[{"train_loss": 0.5}] * 10])


def test_tuning_takes_the_least_validation_loss_and_says_what_it_cost():
    found = tune(lambda seed: digits(seed, fast=True), METHOD["AdamW"], (1e-6, 1e-2, 1e-5), (7, 8))
    assert found["value"] == 1e-2 and not found["at_edge"]
    assert dict(found["scores"])[1e-2] < min(dict(found["scores"])[v] for v in (1e-6, 1e-5))
    assert found["cost"] == 3 * 2 * 4


def test_training_reports_spread_and_failures(trained):
    json.dumps(trained)
    assert [task["name"] for task in trained["tasks"]] == ["digits", "reviews"]
    for task in trained["tasks"]:
        rlhf, wrong, adamw = task["methods"]
        assert wrong["error"].startswith("TypeError: expected an optimizer") and "runs" not in wrong
        for method in (rlhf, adamw):
            assert len(method["runs"]) == len(trained["seeds"]) == 2
            last = [
                [x for x, c in zip(run["train_loss"], run["cost"], strict=True) if c <= 4][-1]
                for run in method["runs"]
            ]
            spread = method["final_train_loss"]
            assert (spread["least"], spread["most"]) == (min(last), max(last))
            assert method["cost"]["most"] <= task["budget"]


def test_a_method_that_fails_late_is_reported_as_well():
    def explode(named, value):
        raise MemoryError("too large")

    found = run_method(
        lambda seed: digits(seed, fast=True), Method("big", explode, "lr", {}), (1.0,), (0,), (1,)
    )
    assert found == {"method": "big", "error": "MemoryError: too large"}


@pytest.fixture
def folder(tmp_path, measured, trained):
    report.write(measured, tmp_path / "products.json")
    report.write(trained, tmp_path / "training.json")
    return tmp_path


def test_files_hold_what_was_measured(folder, measured, trained):
    assert report.read(folder) == ([measured], json.loads(json.dumps(trained)))


def test_the_table_shows_the_numbers_of_the_files(folder, measured):
    lines = report.block(folder).splitlines()
    assert (lines[0], lines[-1]) == (report.BEGIN, report.END)
    for problem in measured["problems"]:
        (title,) = (i for i, line in enumerate(lines) if line.startswith(f"**{problem['title']}"))
        (row,) = [
            line for line in lines[title : title + 12] if line.startswith("| rlhf_lib, graph kept")
        ]
        by_quantity = {
            e["quantity"]: e["timings"]["cpu-1"]
            for e in problem["results"]
            if e["contender"] == "rlhf_lib, graph kept"
        }
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells == [
            "rlhf_lib, graph kept",
            tables.number(by_quantity["Hv"]["product"]["ratio"]),
            tables.number(by_quantity["Hv"]["set-up + 3 products"]["ratio"]),
            "–",
            tables.number(by_quantity["Gv"]["product"]["ratio"]),
            tables.number(by_quantity["Gv"]["set-up + 3 products"]["ratio"]),
            "–",
        ]
    text = "\n".join(lines)
    assert "| broken | failed |" in text and "(off by 1e+00)" in text and "(residual" in text
    assert "RuntimeError: no such kernel" in tables.full(*report.read(folder))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.149, "2.15"),
        (15.04, "15.0"),
        (232.4, "232"),
        (0.7101, "0.710"),
        (0, "0.00"),
        (2e-5, "2.0e-05"),
        (12345.0, "1.2e+04"),
    ],
)
def test_numbers_have_three_digits(value, shown):
    assert tables.number(value) == shown


def test_only_what_stands_between_the_markers_is_rewritten(folder, measured):
    readme = folder / "README.md"
    readme.write_text(f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nend\n")
    assert report.rewrite(readme, folder)
    first = readme.read_text()
    assert first == f"# Title\n\n{report.block(folder)}\n\nend\n"
    assert report.rewrite(readme, folder) and readme.read_text() == first
    changed = copy.deepcopy(measured)
    changed["problems"][0]["results"][2]["timings"]["cpu-1"]["product"]["ratio"] = 77.7
    report.write(changed, folder / "products.json")
    assert report.between_markers(first) != report.block(folder)
    assert report.rewrite(readme, folder) and "| 77.7 |" in readme.read_text()


def test_a_readme_without_markers_stays_as_it_is(folder):
    readme = folder / "README.md"
    readme.write_text("nothing here\n")
    assert not report.rewrite(readme, folder)
    assert readme.read_text() == "nothing here\n"


def test_tables_without_results_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m benchmarks products"):
        report.rewrite(tmp_path / "README.md", tmp_path)


def test_the_three_lines_of_the_project_s_readme_are_figures_of_the_tables():
    lines = (report.HERE.parent / "README.md").read_text().split("### What it costs")[1]
    lines = lines.split("\n#")[0]
    said = re.findall(r"\d+\.\d+", lines)
    there = report.between_markers(report.README.read_text())
    assert len(said) >= 6 and [number for number in said if f" {number} " not in there] == []


def test_the_benchmarks_readme_shows_the_committed_results():
    shown = report.between_markers(report.README.read_text())
    if shown is None:
        pytest.skip(f"README.md has no {report.BEGIN}")
    assert any(report.read()), "README.md has a table, but there are no results"
    assert shown == report.block()
    assert (RESULTS / "tables.md").read_text() == tables.full(*report.read())


def test_the_plots_name_everyone(folder, measured, trained):
    plots.products(measured, folder / "products.svg")
    plots.training(trained, folder / "training.svg")
    for name, words in (
        ("products.svg", ["rlhf_lib, graph kept", "RuntimeError", "floor by arithmetic 2.00"]),
        ("training.svg", ["RLHF, CG", "AdamW", "training loss in nats"]),
    ):
        shown = "\n".join(ElementTree.parse(folder / name).getroot().itertext())
        assert all(word in shown for word in words)


def test_results_tell_the_machine_but_not_its_name():
    said = json.dumps(machine.about("cpu"))
    assert "cores" in said and torch.__version__ in said
    assert platform.node() not in said and "/" not in said


def test_mistakes_get_errors_that_help(capsys):
    with pytest.raises(ValueError, match="expected one of"):
        contender("H", "x")
    with pytest.raises(ValueError, match="expected a contender for 'Hv', got 'x'"):
        find("Hv", "x")
    with pytest.raises(ValueError, match="tiny-mlp"):
        problems.load("x")
    for wrong in (["product"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            __main__.main(wrong)
    expected = (
        "expected parts out of products, operations, training, linearized, sparse, plots, table"
    )
    assert expected in capsys.readouterr().err


def test_linearized_models_are_measured_and_a_missing_peer_stops_nothing():
    results = linearized.run(fast=True)
    shown = tables.linearized(results)
    for problem in results["problems"]:
        assert problem["title"] in shown
        assert min(problem[key] for key in ("gradient", "set-up", "run", "path")) > 0
    peer = results["problems"][1]["laplace-torch"]
    if peer["error"]:
        assert "laplace-torch failed" in shown
    else:
        assert abs(peer["evidence"] - peer["ours"]) < 1e-3 * abs(peer["ours"])
