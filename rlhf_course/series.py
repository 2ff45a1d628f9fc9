"""The one table of the course's notebooks: the map, the navigation and README are made from it.

Whoever writes a notebook sets its `read` (minutes of a slow read) and `run` (seconds of Run All,
measured on two idle cores); `python tools/notebooks.py build` does the rest. A row without them,
or rather without a file, is shown as planned.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notebook:
    """One notebook: `notebooks/NN_slug.ipynb`, its checks in `rlhf_course/checks/nbNN.py`.

    Attributes:
        number: two digits, the place in the teaching order.
        slug: the rest of the file's name, a Python identifier.
        title: as in the notebook's first heading and in every link.
        able: what the reader can do afterwards, to complete "you will be able to".
        read: minutes of a slow read, without the exercises; None as long as it is planned.
        run: seconds of Run All on two idle cores, kernel start included; None likewise.
    """

    number: str
    slug: str
    title: str
    able: str
    read: int | None = None
    run: int | None = None

    @property
    def name(self) -> str:
        return f"{self.number}_{self.slug}"

    @property
    def part(self) -> str:
        """Which of the four parts of the course it belongs to."""
        parts = {3: "calculus is enough", 9: "the method", 13: "the real model"}
        return next((p for last, p in parts.items() if int(self.number) <= last), "the judgement")


SERIES = (
    Notebook("00", "start_here", "Start here", "tell λ from damping, drive a panel", 15, 4),
    Notebook("01", "overfitting", "Overfitting", "read train and validation curves", 40, 12),
    Notebook(
        "02", "newton_exact_hessian", "Newton's method", "derive and run a Newton step", 25, 9
    ),
    Notebook(
        "03",
        "saddles_and_damping",
        "Saddles and damping",
        "say when Newton's method goes to a saddle, and mend it",
        18,
        9,
    ),
    Notebook(
        "04", "hessian_vector_products", "Hessian-vector products", "compute Hv without H", 40, 20
    ),
    Notebook(
        "05",
        "conjugate_gradients",
        "Conjugate gradients",
        "solve H d = −g with products only",
        50,
        9,
    ),
    Notebook("06", "l1_corners", "The corner of L1", "handle a penalty that is not smooth", 25, 9),
    Notebook("07", "gauss_newton", "Gauss-Newton", "choose between H, GGN and Fisher", 35, 15),
    Notebook(
        "08",
        "how_far_to_trust",
        "How far to trust the model",
        "set damping, radius and line search by ρ",
        40,
        8,
    ),
    Notebook(
        "09",
        "rlhf_optimizer",
        "The RLHF optimizer",
        "assemble the optimizer and use it on an MLP",
        35,
        38,
    ),
    Notebook("10", "bert", "BERT", "drag λ on a real BERT, watch it overfit, and hold it", 60, 50),
    Notebook("11", "choosing_lambda", "Choosing λ", "choose λ without fooling yourself", 30, 22),
    Notebook(
        "12",
        "regularizers",
        "Regularizers",
        "choose among L1, L2, elastic net, penalties towards the start, dropout and stopping early",
        35,
        21,
    ),
    Notebook(
        "13",
        "tasks_and_models",
        "Tasks and models",
        "use it for named entities and question answering, and for other transformers",
        35,
        35,
    ),
    Notebook(
        "14",
        "smaller_models",
        "Smaller models",
        "prune, quantize, distil, and say what it saves",
        35,
        45,
    ),
    Notebook("15", "cost_and_scale", "Cost and scale", "predict the cost before paying it", 40, 45),
    Notebook(
        "16",
        "when_to_use_it",
        "When to use it",
        "say where second order pays, and check it",
        30,
        30,
    ),
    Notebook(
        "17", "reading_the_article", "Reading the article", "judge a claim by evidence", 40, 25
    ),
)

BY_NUMBER = {notebook.number: notebook for notebook in SERIES}
