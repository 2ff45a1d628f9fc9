import io
import time

import torch

from rlhf_lib import RLHFOptimizer, text
from rlhf_lib.interrupt import followed
from rlhf_lib.panels import frame

BATCHES = [torch.randn(4, 3, generator=torch.Generator().manual_seed(k)) for k in range(2)]


def a_step(pause=0.0):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = RLHFOptimizer(model.parameters(), max_iter=4, damping=1e-3, progress_tol=None)

    def closure(batch):
        time.sleep(pause)
        outputs = model(batch)
        return outputs.square().mean(), outputs

    optimizer.step(closure, batches=BATCHES)
    return optimizer.record


def test_a_step_tells_its_micro_batches_and_products():
    told = []
    with followed(lambda *what: told.append(what)):
        record = a_step()
    products = [what for what in told if what[0] == "product"]
    assert products == [("product", i + 1, 4) for i in range(record.products)]
    assert {what for what in told if what[0] == "micro-batch"} == {
        ("micro-batch", 1, 2),
        ("micro-batch", 2, 2),
    }
    a_step()
    assert told.count(("product", 1, 4)) == 1  # after the block nobody follows


def test_the_line_on_stderr_comes_late_and_goes(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with text.progress(delay=60):
        a_step()
    assert stream.getvalue() == ""
    with text.progress(delay=0):
        a_step(pause=0.1)  # tqdm writes ten times a second at most
    assert "micro-batch 1 of 2" in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_a_panel_tells_what_a_long_record_is_at(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(frame.time, "monotonic", lambda: now[0])
    bar = frame.Progress()
    bar.begin(3)
    said = []
    for seconds in (0.5, 1.2, 1.3, 2.0, 2.9, 3.1):
        now[0] = seconds
        if seconds == 2.0:
            bar.count(1)
        else:
            bar.within("product", 4, 10)
        said.append(bar.text)
    waiting, product = "Running, waiting for the first record…", "product 4 of at most 10"
    first = "record 1 of 3, 4.0 s left"
    assert said == [waiting, product, product, first, first, f"{first}; {product}"]
