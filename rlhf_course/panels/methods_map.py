"""A map of second-order methods: what each puts for the Hessian, what it costs, and where it is."""

from __future__ import annotations

from ..table import Table

# Method, what stands for the curvature, what a step needs beside a gradient, source, notebook.
METHODS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "Newton",
        "the Hessian itself",
        "p products and a dense solve",
        "Nocedal and Wright 2006",
        "02",
    ),
    (
        "inexact Newton",
        "the Hessian, a solve that stops early",
        "some products",
        "Dembo, Eisenstat and Steihaug 1982",
        "05",
    ),
    (
        "cubic regularization",
        "the Hessian and a cube of the step's length",
        "an eigenvalue problem, or products",
        "Nesterov and Polyak 2006",
        "03",
    ),
    (
        "Gauss-Newton",
        "J'(curvature of the loss)J",
        "products, or a system of n(C−1) rows",
        "Schraudolph 2002",
        "07",
    ),
    (
        "Levenberg-Marquardt",
        "Gauss-Newton and μ that follows ρ",
        "the same",
        "Marquardt 1963",
        "08",
    ),
    ("natural gradient", "the Fisher matrix", "the same", "Amari 1998", "07"),
    (
        "BFGS, L-BFGS",
        "what the last changes of the gradient say",
        "a few vectors",
        "Nocedal 1980",
        "09",
    ),
    (
        "Hessian-free",
        "Gauss-Newton on a batch, damped, CG stopped early",
        "some products",
        "Martens 2010",
        "09",
    ),
    (
        "K-FAC",
        "the Fisher matrix by layers, each a product of two small ones",
        "two small matrices a layer",
        "Martens and Grosse 2015",
        "",
    ),
    (
        "Shampoo",
        "roots of second moments of the gradient, by rows and columns",
        "two small matrices a layer",
        "Gupta, Koren and Singer 2018",
        "",
    ),
    (
        "Muon",
        "the momentum of a matrix with all singular values set to one",
        "some products of matrices",
        "Jordan 2024",
        "",
    ),
    (
        "Sophia",
        "an estimated diagonal, and a step that is clipped",
        "a product now and then",
        "Liu et al. 2024",
        "",
    ),
    (
        "Adam",
        "the root of the mean square of each entry of the gradient",
        "two vectors",
        "Kingma and Ba 2015",
        "09",
    ),
    (
        "SAM",
        "no curvature: the gradient where the loss nearby is worst",
        "a second gradient",
        "Foret et al. 2021",
        "03",
    ),
    (
        "linearized Laplace",
        "Gauss-Newton at the end of training, as a covariance",
        "products, or a system of n(C−1) rows",
        "Immer, Korzepa and Bauer 2021",
        "10",
    ),
)


def methods_map() -> Table:
    """The map as a table; methods without a notebook are not in this course."""
    columns = ("method", "in place of the Hessian", "beside a gradient", "source", "notebook")
    return Table(
        [dict(zip(columns, (*row[:4], row[4] or "not here"), strict=True)) for row in METHODS],
        caption="Second-order methods and their neighbours",
    )
