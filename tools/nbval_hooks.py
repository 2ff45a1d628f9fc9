"""What the tests change in nbval, in one place: tolerances, claims, and which form is executed.

nbval compares outputs as exact text. Here a new number that agrees with the stored one is replaced
by it before nbval looks, with the tolerance that the cell states in its metadata:

    "compare": {"relative": 1e-3, "absolute": 1e-6, "counts": 0}    the defaults
    "compare": {"chaotic": true}                                     nothing is compared

`relative` and `absolute` hold for numbers with a point or an exponent, `counts` is by how much an
integer may differ. Seconds, memory and dates are never compared. Behind the cells of a notebook
come its claims (`tools/claims.py`), in the same kernel.

nbval has had no release since March 2024. What is used of it: `IPyNbFile.collect`,
`IPyNbFile.setup`, `IPyNbFile.kernel` and `IPyNbCell.compare_outputs`; CONTRIBUTING.md says what
would replace it.
"""

import math
import re

import pytest

from tools import claims

STARTS = 3  # how often a kernel is started before its notebook fails
DEFAULT = {"relative": 1e-3, "absolute": 1e-6, "counts": 0}
# No part of a name, a version or a date: 1.2.3 and v0.5 stay text.
NUMBER = re.compile(r"(?<![\w.])([-+−]?\d+(?:,\d{3})*(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\d|\.\d|,\d)")
UNITS = r"(?:CPU )?(?:s|ms|µs|min|seconds?|minutes?|milliseconds?|hours?|MiB|GiB|KiB)"
NEVER = re.compile(
    rf"[-+−]?\d[\d,]*(?:\.\d*)?(?:[eE][-+]?\d+)?(?= ?{UNITS}\b)"
    r"|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?"
)


def install():
    """Put the hooks in; once a session, when nbval is there."""
    from nbval.plugin import IPyNbCell, IPyNbFile

    exact, collect = IPyNbCell.compare_outputs, IPyNbFile.collect

    def compare_outputs(self, test, ref, skip_compare=None):
        tolerance = tolerance_of(self.cell)
        if tolerance.get("chaotic"):
            return True
        stored, new = list(_texts(ref)), list(_texts(test))
        if [kind for kind, *_ in stored] == [kind for kind, *_ in new]:
            for (_, old, key), (_, output, _) in zip(stored, new, strict=True):
                output[key] = with_stored_numbers(old[key], output[key], tolerance)
        return exact(self, test, ref, skip_compare)

    def collect_with_claims(self):
        yield from collect(self)
        yield from (
            ClaimItem.from_parent(self, name=f"claim {claim.name}", claim=claim)
            for claim in claims.of_notebook(self.path)
        )

    start = IPyNbFile.setup

    def setup(self):
        # Two kernels that start at once may choose one port; then one of them never answers.
        for _ in range(STARTS - 1):
            try:
                return start(self)
            except RuntimeError:
                continue
        return start(self)

    IPyNbFile.setup = setup
    IPyNbCell.compare_outputs = compare_outputs
    IPyNbFile.collect = collect_with_claims


class ClaimItem(pytest.Item):
    """One claim of a notebook: its sentence stands in the text, and it holds in the kernel."""

    def __init__(self, *, claim, **options):
        super().__init__(**options)
        self.claim = claim

    def runtest(self):
        missing = claims.missing_sentences(self.claim, self.parent.nb)
        if missing:
            raise ClaimError(
                "\n".join(f"the notebook no longer says: {sentence!r}" for sentence in missing)
            )
        kernel = self.parent.kernel
        if not kernel.is_alive():
            raise ClaimError("the kernel died before this claim")
        message = kernel.execute_cell_input(claims.kernel_source(self.claim), allow_stdin=False)
        kernel.await_reply(message, timeout=self.config.option.nbval_cell_timeout)
        error = ""
        while True:
            found = kernel.get_message("iopub", timeout=60)
            if found["parent_header"].get("msg_id") != message:
                continue
            if found["msg_type"] == "error":
                error = "\n".join(found["content"]["traceback"])
            if found["msg_type"] == "status" and found["content"]["execution_state"] == "idle":
                break
        if error:
            raise ClaimError(error)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, ClaimError):
            sentences = "\n".join(f"  {sentence}" for sentence in self.claim.sentences)
            return f"The claim does not hold:\n{sentences}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.claim.path, self.claim.line, f"{self.parent.path.name}: {self.name}"


class ClaimError(Exception):
    """A claim that does not hold, or whose sentence is gone."""


def tolerance_of(cell):
    """The tolerance that a cell states, with the defaults for the rest.

    Raises ValueError for a word that no tolerance has.
    """
    stated = dict(cell.get("metadata", {}).get("compare", {}))
    unknown = set(stated) - set(DEFAULT) - {"chaotic"}
    if unknown:
        raise ValueError(
            f"compare: expected relative, absolute, counts or chaotic, "
            f"got {', '.join(sorted(unknown))}"
        )
    return DEFAULT | stated


def agree(stored, new, tolerance=DEFAULT):
    """Whether two numbers, as text, are one within the tolerance."""
    a, b = (float(number.replace("−", "-").replace(",", "")) for number in (stored, new))
    if all(re.fullmatch(r"\D?[\d,]+", number) for number in (stored, new)):
        return abs(a - b) <= tolerance["counts"]
    if any(re.fullmatch(r"\D?[\d,]+", number) for number in (stored, new)):
        return False
    return math.isclose(a, b, rel_tol=tolerance["relative"], abs_tol=tolerance["absolute"])


def with_stored_numbers(stored, new, tolerance=DEFAULT):
    """`new` with each number that agrees replaced by the stored one; as it is where words differ.

    The count of blanks between the words is the stored one too: a column's width follows its
    numbers. A time, an amount of memory or a date is the stored one, whatever it is.
    """
    old_never, new_never = NEVER.findall(stored), NEVER.findall(new)
    if len(old_never) == len(new_never):
        places = iter(old_never)
        new = NEVER.sub(lambda _: next(places), new)
    old_parts, new_parts = NUMBER.split(stored), NUMBER.split(new)
    words = [[re.sub(" +", " ", word) for word in parts[::2]] for parts in (old_parts, new_parts)]
    if words[0] != words[1]:
        return new
    new_parts[::2] = old_parts[::2]
    new_parts[1::2] = [
        a if agree(a, b, tolerance) else b
        for a, b in zip(old_parts[1::2], new_parts[1::2], strict=True)
    ]
    return "".join(new_parts)


def _texts(outputs):
    """`(kind, holder, key)` of every text in the outputs of a cell."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield output["name"], output, "text"
        # In one order: a stored file has its keys sorted, a kernel sends them as they come.
        for mime, value in sorted(output.get("data", {}).items()):
            if mime.startswith("text/") and isinstance(value, str):
                yield mime, output["data"], mime
