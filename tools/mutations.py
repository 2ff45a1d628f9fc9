"""Do the tests see a fault? Plant one at a time in a copy of the library and run them.

python tools/mutations.py                 all of them (minutes), and the table in tests/README.md
python tools/mutations.py radius rho      only those whose name has one of the words
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "README.md"
BEGIN, END = "<!-- planted faults: tools/mutations.py -->", "<!-- end of planted faults -->"


@dataclass(frozen=True)
class Fault:
    """A slip of the pen: in one file, ``old`` (there exactly once) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def path(self):
        return f"rlhf_lib/{self.file}.py"


def _fault(name, file, old, new, *tests):
    paths = (next((ROOT / "tests").rglob(f"test_{test}.py")) for test in tests)
    return Fault(name, file, old, new, " ".join(str(p.relative_to(ROOT)) for p in paths))


FAULTS = [
    _fault(
        "batches weighted equally",
        "objective/task_loss",
        "c / self.samples for c in counts]",
        "1 / len(counts) for c in counts]",
        "task_loss",
    ),
    _fault(
        "a sum of losses taken for a mean",
        "objective/counts",
        "if all(abs(share - 1) <= close for share in shares):",
        "if shares:",
        "counts",
    ),
    _fault(
        "rows are not checked",
        "per_sample/rows",
        "return error <= eps * size",
        "return True",
        "diagonals",
    ),
    _fault(
        "dropout masks drawn anew",
        "objective/draws",
        "            generator.set_state(state)\n        elif",
        "            pass\n        elif",
        "task_loss",
    ),
    _fault(
        "buffers not put back",
        "objective/draws",
        "            buffer.data.copy_(numbers)\n",
        "            pass\n",
        "draws",
    ),
    _fault(
        "an interrupted step left as it is",
        "optimizer",
        "            assign(params, theta)\n            self.state",
        "            self.state",
        "optimizer_commit",
    ),
    _fault(
        "stale outputs taken for fresh ones",
        "curvature/look",
        "if old and _is_stale(task, params):",
        "if False:",
        "look",
    ),
    _fault(
        "a part of the loss with masks of its own",
        "objective/task_loss",
        "known.get(id(batch)) or _Call",
        "_Call",
        "task_loss",
    ),
    _fault(
        "Hessian product of the wrong sign",
        "curvature/operators",
        "return gradients(curved, params, _keep(v, flags), retain_graph=retain)",
        "return [-h for h in gradients(\n"
        "                curved, params, _keep(v, flags), retain_graph=retain)]",
        "whole_models",
    ),
    _fault(
        "Gauss-Newton without the loss's Hessian",
        "curvature/operators",
        "return gradients(outputs, params, hjv, retain_graph=retain)",
        "return gradients(outputs, params, jv, retain_graph=retain)",
        "whole_models",
    ),
    _fault(
        "only the last micro-batch's product",
        "curvature/operators",
        "total.copy_(part) if first else total.add_(part)",
        "total.copy_(part)",
        "operators",
    ),
    _fault(
        "the first step's graph for all steps",
        "optimizer",
        "            curvature = kind(task, params, keep_graph=self.keep_graph)\n",
        "            curvature = self.__dict__.setdefault(\n"
        "                'stale', kind(task, params, keep_graph=self.keep_graph))\n",
        "optimizer_solvers",
    ),
    _fault(
        "mu left out of the system",
        "step/model",
        "self.shift + self.damping, self.free",
        "self.shift, self.free",
        "directions",
    ),
    _fault(
        "the penalty's curvature left out",
        "step/model",
        "self.shift + self.damping, self.free",
        "0.0 * self.shift + self.damping, self.free",
        "directions",
    ),
    _fault(
        "the penalty's gradient left out",
        "step/model",
        "penalty.subgradient(task_gradient, theta)",
        "task_gradient",
        "optimizer_solvers",
    ),
    _fault(
        "mask of the orthant left out",
        "step/model",
        "self.shift + self.damping, self.free)",
        "self.shift + self.damping, None)",
        "directions",
    ),
    _fault(
        "no projection onto the orthant",
        "step/model",
        "if self._model.signs is not None:",
        "if False:",
        "directions",
    ),
    _fault(
        "the promise without its factor 1/2",
        "step/model",
        "0.5 * quadratic",
        "1.0 * quadratic",
        "directions",
    ),
    _fault(
        "the promise with mu in it",
        "step/directions",
        "- dot(model.gradient, d)) - model.damping * dot(d, d)",
        "- dot(model.gradient, d))",
        "directions",
    ),
    _fault(
        "beta upside down in CG",
        "solve/conjugate_gradient",
        "beta = new_rz / rz",
        "beta = rz / new_rz",
        "conjugate_gradient",
    ),
    _fault(
        "preconditioner used in the first iteration only",
        "solve/conjugate_gradient",
        "z = shifted(apply_m(r), -m)\n        new_rz",
        "z = r.clone()\n        new_rz",
        "conjugate_gradient",
    ),
    _fault(
        "negative curvature not looked for",
        "solve/conjugate_gradient",
        "if curvature <= flat:",
        "if curvature == 0:",
        "conjugate_gradient",
    ),
    _fault(
        "the recurrence's residual trusted",
        "solve/conjugate_gradient",
        "if rounding.of_residual(i, x) < 0.1 * tolerance:",
        "if True:",
        "conjugate_gradient",
    ),
    _fault(
        "a step past the boundary",
        "solve/stops",
        "pp * (radius * radius - xx)",
        "pp * (radius * radius + xx)",
        "conjugate_gradient",
    ),
    _fault(
        "radius not passed on",
        "step/directions",
        "radius=model.radius",
        "radius=None",
        "optimizer_solvers",
    ),
    _fault(
        "radius grows inside, too",
        "step/globalization",
        "elif rho > 0.75 and at_boundary:",
        "elif rho > 0.75:",
        "globalization",
    ),
    _fault(
        "rho upside down",
        "step/globalization",
        "return actual / predicted",
        "return predicted / actual",
        "globalization",
    ),
    _fault(
        "Nielsen's cube a square",
        "step/globalization",
        "(2 * min(rho, 10.0) - 1) ** 3",
        "(2 * min(rho, 10.0) - 1) ** 2",
        "globalization",
    ),
    _fault(
        "Armijo's condition of the wrong sign",
        "step/globalization",
        "value <= f0 + c * decrease",
        "value <= f0 - c * decrease",
        "globalization",
    ),
    _fault(
        "iterates kept without a copy",
        "step/globalization",
        "self.kept.append((iteration, x.clone()))",
        "self.kept.append((iteration, x))",
        "globalization",
    ),
    _fault(
        "backtracking goes on uphill",
        "optimizer",
        "if not lower < full:",
        "if lower < full:",
        "optimizer_solvers",
    ),
    _fault(
        "a rejected step not taken back",
        "optimizer",
        "final = path(length) if length else theta",
        "final = path(length or 1.0)",
        "optimizer_solvers",
    ),
    _fault(
        "the solver's memory not kept",
        "optimizer",
        '        state["direction memory"] = first.memory\n',
        "",
        "optimizer_solvers",
    ),
    _fault(
        "root of the loss's eigenvalues forgotten",
        "per_sample/loss_factor",
        "(values * (values > rounding)).sqrt()",
        "(values * (values > rounding))",
        "sample_space",
    ),
    _fault(
        "per-sample gradient transposed",
        "per_sample/recorder",
        "Outer(row, g, x) if output_first else Outer(row, x, g)",
        "Outer(row, x, g) if output_first else Outer(row, g, x)",
        "sample_space",
    ),
    _fault(
        "one row of positions for all samples",
        "per_sample/recorder",
        "if result.ndim > 2 and result.shape[0] == 1 < n:",
        "if False:",
        "sample_space",
    ),
    _fault(
        "a gradient for the padding row",
        "per_sample/recorder",
        "if padding_idx is not None:",
        "if False:",
        "sample_space",
    ),
    _fault(
        "uses of one parameter not crossed",
        "per_sample/factor",
        "            for b in found:\n",
        "            for b in (a,):\n",
        "sample_space",
    ),
    _fault(
        "identity left out beside the Gram matrix",
        "solve/sample_space",
        "    K.diagonal().add_(1.0)\n",
        "",
        "sample_space",
    ),
    _fault(
        "refinement dropped",
        "solve/sample_space",
        "if len(norms) > refinements + 1:",
        "if len(norms) > 1:",
        "sample_space",
    ),
    _fault(
        "residual of the dual solution not looked at",
        "step/directions",
        "if solved.converged:\n            return replace(_proposal(solved, model, solver,",
        "if True:\n            return replace(_proposal(solved, model, solver,",
        "directions",
    ),
    _fault(
        "auto's choice never looked at again",
        "step/directions",
        ' or choice["samples"] != samples',
        "",
        "directions",
    ),
    _fault(
        "Nielsen's nu forgotten",
        "step/globalization",
        'memory["nu"] = 2.0 if rho > 0 else 2 * nu',
        'memory["nu"] = 2.0',
        "globalization",
    ),
    _fault(
        "the damping rule's memory not kept",
        "optimizer",
        '            state["damping memory"] = memory\n',
        "",
        "extensions",
    ),
    _fault(
        "stagnation never noticed",
        "solve/stops",
        "return self.since >= self.patience",
        "return False",
        "conjugate_gradient",
    ),
    _fault(
        "the region's recurrence without beta",
        "solve/stops",
        "self.xp = beta * (self.xp + alpha * self.pp)",
        "self.xp = self.xp + alpha * self.pp",
        "conjugate_gradient",
    ),
    _fault(
        "Martens' test over one iteration",
        "solve/stops",
        "k, now = max(10, i // 10), values[-1]",
        "k, now = 1, values[-1]",
        "conjugate_gradient",
    ),
    _fault(
        "settings beside a solver object ignored",
        "step/shorthand",
        "    if asked:\n",
        "    if False:\n",
        "directions",
    ),
    _fault(
        "Martens' exponent of the wrong sign",
        "curvature/diagonals",
        "total.pow_(-exponent)",
        "total.pow_(exponent)",
        "diagonals",
    ),
    _fault(
        "Fisher's diagonal without its factor",
        "curvature/diagonals",
        "else space.rows)",
        "else 1)",
        "diagonals",
    ),
    _fault(
        "Hutchinson's signs 0 and 2",
        "curvature/diagonals",
        "bits.to(total).mul_(2).sub_(1)",
        "bits.to(total).mul_(2)",
        "diagonals",
    ),
    _fault(
        "proximal threshold upside down",
        "solve/proximal",
        "model.gradient / L, 1 / L)",
        "model.gradient / L, L)",
        "optimizer_problems",
    ),
    _fault(
        "a penalty's own weight lost when it is bound",
        "regularizers/base",
        "weights=flat * _fit(self.weight, flat)",
        "weights=flat",
        "regularizers",
    ),
    _fault(
        "binding changes the penalty itself",
        "regularizers/base",
        "made = copy(self)",
        "made = self",
        "regularizers",
    ),
    _fault(
        "the kept centre not given to the penalty",
        "optimizer",
        "flatten(centers) if centers else None",
        "None",
        "optimizer",
    ),
    _fault(
        "mu left out of the dense matrix",
        "step/dense",
        "A = _plus(scaled, model.damping)",
        "A = scaled",
        "dense_directions",
    ),
    _fault(
        "the dense metric's change not made",
        "step/dense",
        "return _plus(A, jitter), jitter",
        "return A, jitter",
        "dense_directions",
    ),
    _fault(
        "the solver's own decrement ignored",
        "step/model",
        "if whole and proposal.decrement is not None:",
        "if False:",
        "dense_directions",
    ),
    _fault(
        "newton's damping rule not asked",
        "step/newton",
        "mu.update(reduction_ratio(before - full, path.predicted, rounding))",
        "reduction_ratio(before - full, path.predicted, rounding)",
        "dense_directions",
    ),
    _fault(
        "linearized: leave-one-out without the sample's curvature",
        "linearized/posterior",
        "torch.linalg.solve(eye - W @ A, g[:, :, None])",
        "g[:, :, None]",
        "linearized_posterior",
    ),
    _fault(
        "linearized: evidence without its determinant",
        "linearized/posterior",
        "value -= float(self.solver.chol.diagonal().log().sum())",
        "value -= 0.0",
        "linearized_posterior",
    ),
    _fault(
        "linearized: evidence with half of its determinant",
        "linearized/posterior",
        "value -= float(self.solver.chol.diagonal().log().sum())",
        "value -= 0.5 * float(self.solver.chol.diagonal().log().sum())",
        "linearized_posterior",
    ),
    _fault(
        "linearized: variances of the prior alone",
        "linearized/posterior",
        "A = K.diagonal(dim1=0, dim2=2).permute(2, 0, 1) - _gram(P.T, m)",
        "A = K.diagonal(dim1=0, dim2=2).permute(2, 0, 1)",
        "linearized_posterior",
    ),
    _fault(
        "linearized: samples of held-out variances not of one mean",
        "linearized/posterior",
        "else self._own_blocks) / self.terms",
        "else self._own_blocks)",
        "linearized_posterior",
    ),
    _fault(
        "linearized: damping left out of a step",
        "linearized/problem",
        "K.add_(block.K[: self.n, : self.n], alpha=1 / (block.lam + damping))",
        "K.add_(block.K[: self.n, : self.n], alpha=1 / max(block.lam, 1e-9))",
        "linearized_steps",
    ),
    _fault(
        "linearized: the penalty without its half",
        "linearized/problem",
        "return 0.5 * sum(map(operator.mul, self.lams, point.norms))",
        "return sum(map(operator.mul, self.lams, point.norms))",
        "linearized_steps",
    ),
    _fault(
        "linearized: a step's promise without its curvature",
        "linearized/run",
        "promised = -slope - 0.5 * quadratic",
        "promised = -slope",
        "linearized_steps",
    ),
    _fault(
        "linearized: pulled to zero, but measured from the start",
        "linearized/problem",
        "row[-1] = 1.0",
        "row[-1] = 0.0",
        "linearized_steps",
    ),
    _fault(
        "linearized: a stored Gram matrix of other data is taken",
        "linearized/fingerprint",
        "abs(stored[key] - here[key]) <= scale for key",
        "True for key",
        "linearized_files",
    ),
]


def copy_of_the_library(folder):
    """What a test run needs, in a folder of its own."""
    for name in ("rlhf_lib", "rlhf_course", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, folder)


def first_failure(folder, tests):
    """The first test that fails, or None."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if run.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[| |$)", run.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{tests} could not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return found[1].split("/")[-1]


def planted(fault, text):
    """The file's text with the fault in it."""
    if text.count(fault.old) != 1:
        raise ValueError(
            f"{fault.name!r}: expected its text once in {fault.path}, found it "
            f"{text.count(fault.old)} times"
        )
    return text.replace(fault.old, fault.new)


def plant_all(faults):
    """Yield (fault, the test that caught it or None)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_the_library(folder)
        for tests in sorted({fault.tests for fault in faults}):
            failure = first_failure(folder, tests)
            if failure is not None:
                raise SystemExit(f"{failure} fails without any fault: mend that first")
        for fault in faults:
            path = folder / fault.path
            text = path.read_text(encoding="utf-8")
            path.write_text(planted(fault, text), encoding="utf-8")
            yield fault, first_failure(folder, fault.tests)
            path.write_text(text, encoding="utf-8")


def table(results):
    """The results as the rows of tests/README.md."""
    lines = ["| fault | planted in | first caught by |", "|---|---|---|"]
    for fault, test in results:
        caught = "**survived**" if test is None else "`" + test.replace("::", "`: `") + "`"
        lines.append(f"| {fault.name} | `{fault.file}.py` | {caught} |")
    return "\n".join(lines)


def main(words):
    faults = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    results = []
    for fault, test in plant_all(faults):
        print(f"{fault.name}: {'SURVIVED' if test is None else test}", flush=True)
        results.append((fault, test))
    survived = sum(test is None for _, test in results)
    print(f"{len(results) - survived} of {len(results)} faults caught")
    if not words:
        text = TABLE.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        TABLE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
