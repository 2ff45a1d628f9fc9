"""Claims: what the sentences of a notebook say, held by code outside of the page.

The claims of `notebooks/05_conjugate_gradients.ipynb` (and of its source in solutions/) are the
functions of `tests/notebooks/claims_05.py` under a decorator that quotes what they protect:

    from tools.claims import claim, near

    @claim("ends at −0.25, beyond the saddle")
    def undamped_newton_jumps_over_the_saddle(f, start):
        ...
        assert near(y, -0.25, absolute=0.01)

A claim runs in the notebook's own kernel after its cells. Its parameters are names of the
notebook; it must not depend on what an exercise asks the learner to write, nor on what a panel
shows. It fails when its sentence no longer stands in the notebook.
"""

import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "notebooks"


@dataclass(frozen=True)
class Claim:
    """A claim's function, the sentences that it protects, and where it is written."""

    name: str
    sentences: tuple
    path: Path
    line: int
    function: object


def claim(*sentences):
    """Mark a function as the claim of these sentences, each a piece of the notebook's text.

    Raises ValueError without a sentence.
    """
    if not sentences or not all(isinstance(s, str) and s.strip() for s in sentences):
        raise ValueError("a claim names the sentence that it protects: @claim('...')")

    def mark(function):
        function.claim_sentences = sentences
        return function

    return mark


def near(value, expected, *, relative=1e-3, absolute=1e-9):
    """Whether `value` is `expected` within the tolerances; an AssertionError with both if not."""
    gap = abs(float(value) - float(expected))
    if not gap <= max(relative * abs(float(expected)), absolute):
        raise AssertionError(
            f"expected {float(expected):.6g} within {relative:g} relative or "
            f"{absolute:g} absolute, got {float(value):.6g}"
        )
    return True


def between(value, low, high):
    """Whether low <= value <= high; an AssertionError with all three if not."""
    if not low <= float(value) <= high:
        raise AssertionError(f"expected between {low:g} and {high:g}, got {float(value):.6g}")
    return True


def claims_path(notebook):
    """Where the claims of a notebook are written, by the number in its name."""
    return FOLDER / f"claims_{Path(notebook).stem[:2]}.py"


def of_notebook(notebook):
    """The claims of a notebook of the course, in the order in which they are written."""
    notebook = Path(notebook).resolve()
    course = ROOT / "notebooks"
    if notebook.parent not in (course, course / "solutions"):
        return []
    path = claims_path(notebook)
    return _read(path) if path.is_file() else []


def _read(path):
    module = _load(path)
    found = [
        (f.__code__.co_firstlineno, name, f)
        for name, f in vars(module).items()
        if inspect.isfunction(f) and hasattr(f, "claim_sentences")
    ]
    return [
        Claim(name, f.claim_sentences, path, line, f)
        for line, name, f in sorted(found, key=lambda entry: entry[0])
    ]


def _load(path):
    name = f"rlhf_{Path(path).stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def plain_text(text):
    """Text with single blanks and without line breaks, for comparisons."""
    return re.sub(r"\s+", " ", text).strip()


def missing_sentences(claim, notebook):
    """Those of its sentences that no Markdown cell of the notebook holds."""
    prose = [plain_text(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    return [
        sentence
        for sentence in claim.sentences
        if not any(plain_text(sentence) in text for text in prose)
    ]


def kernel_source(claim):
    """Code that runs a claim in a notebook's kernel."""
    return (
        f"import sys as _sys\n_sys.path.insert(0, {str(ROOT)!r})\n"
        "from tools.claims import run as _run_claim\n"
        "_sys.path.pop(0)\n"
        f"_run_claim({str(claim.path)!r}, {claim.name!r}, dict(globals()))"
    )


def run(path, name, namespace):
    """Call a claim with its parameters taken from a notebook's names; torch is left as it was.

    Raises LookupError for a name that the notebook does not have.
    """
    import torch

    function = getattr(_load(Path(path)), name)
    wanted = list(inspect.signature(function).parameters)
    missing = [parameter for parameter in wanted if parameter not in namespace]
    if missing:
        raise LookupError(f"the notebook has no {', '.join(missing)}")
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    try:
        if function(**{parameter: namespace[parameter] for parameter in wanted}) is False:
            raise AssertionError("the claim returned False")
    finally:
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
