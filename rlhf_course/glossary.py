"""The terms and symbols of the course: one symbol, one meaning, and where each is first used.

`notebooks/glossary.md`, the links in the learners' notebooks and what the pages show on hover are
made from this table (`python tools/notebooks.py build`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """`name` as in a sentence, `symbol` in plain characters (or ""), `meaning` in a sentence or
    two, `notebook` where it is first used, `also` other words for it, found in texts as `name` is.
    """

    name: str
    symbol: str
    meaning: str
    notebook: str
    also: tuple[str, ...] = ()


GLOSSARY: tuple[Term, ...] = (
    # What is minimized
    Term("parameters", "θ", "All numbers of a model that are learnt, as one vector.", "00"),
    Term("number of parameters", "p", "How many entries θ has.", "00"),
    Term(
        "number of samples",
        "n",
        "How many measurements, texts or images the loss is a mean of.",
        "00",
    ),
    Term("loss", "L", "How badly the model fits its data: a mean over the samples.", "00"),
    Term(
        "objective",
        "f",
        "Whatever is minimized, such as L + λR.",
        "02",
        also=("objective function",),
    ),
    Term(
        "penalty",
        "R",
        "A function of the parameters that is added to the loss, λ times.",
        "00",
        also=("regularizer",),
    ),
    Term("lambda", "λ", "The weight of the penalty: it moves the minimum.", "00"),
    Term(
        "damping",
        "μ",
        "What is added to every curvature before a step is solved for: it changes the way, "
        "not the points of rest. Martens (2010) and many others call it λ.",
        "00",
    ),
    Term(
        "ridge regression",
        "",
        "A linear model with half the mean squared error as its loss and the penalty ½‖θ‖².",
        "00",
    ),
    Term(
        "norm",
        "‖v‖",
        "The length of a vector, the root of the sum of its squares. ‖v‖₁ is the sum of "
        "absolute values; single bars are for single numbers.",
        "00",
    ),
    # Generalizing
    Term("training error", "", "The error on the samples that the model was fitted to.", "01"),
    Term(
        "validation error",
        "",
        "The error on samples that the model has never seen, used to choose with. What has "
        "chosen cannot judge: that takes a third set, the test set.",
        "01",
    ),
    Term("test error", "", "The error on samples that neither fitted nor chose anything.", "00"),
    Term(
        "overfitting",
        "",
        "A small training error and a large gap to the validation error: noise was learnt.",
        "01",
        also=("overfits",),
    ),
    Term(
        "underfitting",
        "",
        "Both errors are large: the model cannot bend, or is not allowed to.",
        "01",
        also=("underfits",),
    ),
    Term(
        "bias",
        "",
        "What the fits to many data sets get wrong together: mean prediction less truth.",
        "01",
    ),
    Term(
        "variance",
        "",
        "What the fits to many data sets disagree about: the mean square of prediction less "
        "mean prediction.",
        "01",
    ),
    Term("noise level", "σ", "The standard deviation of the errors in the measurements.", "01"),
    Term(
        "filter",
        "h/(h + λ)",
        "The share of the way to the unpenalized minimum that a penalty, a damped iteration "
        "or CG leaves along a direction of curvature h.",
        "01",
    ),
    Term(
        "effective degrees of freedom",
        "df",
        "The sum of the filters h/(h + λ) over all directions: how many parameters λ leaves free.",
        "01",
    ),
    Term(
        "prior",
        "",
        "What is believed of the parameters before any data. A penalty is one: ½‖θ‖² a "
        "Gaussian, ‖θ‖₁ a Laplace distribution.",
        "01",
    ),
    Term(
        "double descent",
        "",
        "With the size of the model the error falls, peaks where the data can just be fitted, "
        "and falls again.",
        "01",
    ),
    Term(
        "implicit bias",
        "",
        "Which of many equally good fits an algorithm ends in, without being told: gradient "
        "descent from zero ends in the shortest one.",
        "01",
    ),
    Term(
        "stopping early",
        "",
        "Ending a run before its minimum, when the validation error is least: a regularizer "
        "that has to be timed.",
        "00",
        also=("early stopping", "stopped early"),
    ),
    Term(
        "cross-entropy",
        "",
        "Minus the logarithm of the probability that the model gives to the right class, "
        "averaged; in nats.",
        "01",
    ),
    # Second order
    Term("gradient", "g", "The vector of first derivatives: −g points straight downhill.", "00"),
    Term(
        "Hessian",
        "H",
        "The matrix of second derivatives: how the gradient changes. It has p² entries.",
        "00",
    ),
    Term(
        "local model",
        "m(d)",
        "The quadratic L + g'd + ½d'Hd (or with G for H): what a step believes.",
        "00",
        also=("quadratic model",),
    ),
    Term("proposed step", "d", "What is added to θ.", "00"),
    Term(
        "Newton step",
        "",
        "The step to where the gradient of the local model is zero: Hd = −g.",
        "00",
    ),
    Term(
        "learning rate",
        "η",
        "The factor of the gradient in a step of gradient descent.",
        "02",
        also=("step size",),
    ),
    Term(
        "eigenvalue",
        "h",
        "The factor by which a matrix stretches one of its directions. Of a Hessian it is the "
        "curvature along that direction.",
        "02",
    ),
    Term(
        "momentum",
        "β",
        "Keeping a share β of the last move: the heavy ball. It pays with the root of κ.",
        "02",
        also=("heavy ball",),
    ),
    Term("condition number", "κ", "The largest eigenvalue over the smallest.", "02"),
    Term(
        "positive definite",
        "",
        "All eigenvalues are positive: every direction curves upwards.",
        "02",
    ),
    Term(
        "affine invariance",
        "",
        "What a method has whose path is the same in all units and mixtures of the "
        "parameters. Newton's method has it, and loses it with damping.",
        "02",
        also=("affine invariant",),
    ),
    Term(
        "quadratic convergence",
        "",
        "Each error is at most a constant times the square of the former: the digits double.",
        "02",
    ),
    Term(
        "saddle",
        "",
        "A point of zero gradient that is lowest along one direction and highest along another.",
        "03",
    ),
    Term(
        "negative curvature",
        "",
        "A direction v with v'Hv < 0: the model falls for ever along it.",
        "03",
    ),
    Term(
        "descent direction",
        "",
        "A direction d with g'd < 0: the function falls along it at first.",
        "03",
    ),
    Term(
        "cubic regularization",
        "γ",
        "A step that minimizes the local model plus a cube of its length; it chooses its own "
        "damping.",
        "03",
    ),
    Term(
        "hard case",
        "",
        "No gradient along the direction of the smallest eigenvalue: damping alone cannot "
        "leave the saddle.",
        "03",
    ),
    Term(
        "sharpness",
        "",
        "The largest eigenvalue of the Hessian. Gradient descent is stable below 2/η.",
        "03",
    ),
    Term(
        "edge of stability",
        "",
        "Where gradient descent on networks tends to: a sharpness of about 2/η.",
        "03",
    ),
    # Products and solvers
    Term(
        "Hessian-vector product",
        "Hv",
        "The derivative of the gradient along v: all that is needed of H, at about two gradients.",
        "04",
    ),
    Term(
        "double backward", "", "Differentiating the number g'v once more: gives Hv exactly.", "04"
    ),
    Term(
        "gradient-equivalent",
        "",
        "The cost of one gradient, forward and backward: the unit in which methods are compared.",
        "02",
    ),
    Term(
        "system matrix",
        "A",
        "The matrix of a linear system Ax = b, such as H + λI + μI with b = −g.",
        "05",
    ),
    Term("residual", "r", "b − Ax: what is left to be solved.", "05"),
    Term(
        "conjugate gradients",
        "",
        "A solver of Ax = b by products with A alone, along directions that do not spoil one "
        "another.",
        "05",
        also=("CG",),
    ),
    Term("A-orthogonal", "", "Two directions s, t with s'At = 0.", "05"),
    Term("Krylov space", "", "All combinations of b, Ab, A²b, ...: where CG looks.", "05"),
    Term(
        "preconditioner",
        "M",
        "A matrix near A with which systems are cheap to solve. CG multiplies by its inverse.",
        "05",
    ),
    Term(
        "Ritz value",
        "",
        "An eigenvalue of A as seen from a Krylov space; never outside of the spectrum.",
        "05",
    ),
    Term(
        "inexact Newton",
        "",
        "Newton's method with a solve that stops early, by a relative residual, the forcing term.",
        "05",
        also=("forcing term",),
    ),
    # Corners
    Term(
        "L1 penalty",
        "‖θ‖₁",
        "The sum of the absolute values of the parameters; its corner at zero makes exact zeros.",
        "06",
    ),
    Term("subgradient", "", "Any slope between those on the two sides of a corner.", "06"),
    Term(
        "KKT conditions",
        "",
        "What holds at a minimum with a corner: no slope left for weights that are not zero, "
        "at most λ for those that are.",
        "06",
    ),
    Term("soft threshold", "", "x moved by t towards zero, and stopped there.", "06"),
    Term(
        "orthant",
        "",
        "All points with the same signs: the part of space in which the L1 penalty is smooth.",
        "06",
    ),
    # Other curvatures
    Term("Jacobian", "J", "The derivatives of all outputs by all parameters.", "07"),
    Term(
        "outputs",
        "z",
        "What the model computes before the loss is applied; for classes, the logits.",
        "07",
        also=("logits",),
    ),
    Term(
        "Gauss-Newton matrix",
        "G",
        "The Hessian of the loss through the tangent of the network: J' (curvature of the "
        "loss) J, never negative for a convex loss.",
        "07",
        also=("GGN",),
    ),
    Term(
        "Fisher matrix",
        "F",
        "The mean of gg' over labels drawn from the model's own probabilities: its metric of "
        "distributions. Here it equals G.",
        "07",
    ),
    Term("empirical Fisher", "E", "The same with the labels of the data; another matrix.", "07"),
    Term(
        "natural gradient",
        "",
        "The step −F⁻¹g: steepest descent if distance is measured between predictions.",
        "07",
    ),
    Term(
        "Gram matrix",
        "",
        "The products of the rows of J with one another: as many as samples times outputs.",
        "07",
    ),
    # Trust
    Term(
        "reduction ratio",
        "ρ",
        "The true decrease of the objective over the one that the model promised.",
        "08",
    ),
    Term(
        "trust region", "Δ", "All steps of at most a length Δ: where the model is believed.", "08"
    ),
    Term(
        "line search", "α", "Trying multiples α of a step until the objective falls enough.", "08"
    ),
    Term(
        "Armijo constant",
        "c",
        "The share of the promised slope that a step has to keep.",
        "08",
        also=("Armijo",),
    ),
    Term(
        "Levenberg-Marquardt",
        "",
        "Damping that follows ρ: more after a bad step, less after a good one.",
        "08",
        also=("Levenberg-Marquardt damping",),
    ),
    Term(
        "secant condition",
        "",
        "The new curvature maps the last step to the change of the gradient.",
        "09",
    ),
    Term(
        "L-BFGS",
        "",
        "A quasi-Newton method that keeps the last few pairs of steps and changes of the "
        "gradient, and no matrix.",
        "09",
    ),
    # The real model
    Term(
        "BERT",
        "",
        "A transformer that reads a text at once, pre-trained to fill in missing words.",
        "03",
    ),
    Term("fine-tuning", "", "Training a pre-trained model on little data of one's own.", "10"),
    Term(
        "probe",
        "",
        "A linear model on the frozen features of a network: what fine-tuning has to beat.",
        "10",
    ),
    Term(
        "linearized model",
        "",
        "A network replaced by its tangent at a point: linear in θ, so ridge regression again.",
        "10",
    ),
    Term(
        "L2-SP",
        "",
        "The penalty ½‖θ − θ at the start‖²: it pulls to the pre-trained weights.",
        "10",
    ),
    Term(
        "dropout",
        "",
        "Switching random units off in training; one Newton step needs one mask.",
        "09",
    ),
    Term("cross-validation", "", "Choosing by the mean over folds, each left out once.", "11"),
    Term(
        "one-standard-error rule",
        "",
        "The strongest penalty whose mean is within one standard error of the least.",
        "11",
    ),
    Term(
        "nested cross-validation",
        "",
        "Choosing inside of each fold of an outer loop that judges.",
        "11",
    ),
    Term(
        "weight decay",
        "",
        "Shrinking the parameters by a factor in each step; an L2 penalty in SGD, and none in "
        "Adam.",
        "12",
    ),
    Term(
        "group lasso",
        "",
        "A penalty on the lengths of groups of parameters: whole groups become zero.",
        "12",
    ),
    Term("pruning", "", "Setting parameters to zero after training.", "14"),
    Term("quantization", "", "Storing parameters with few bits.", "14"),
    Term(
        "distillation",
        "",
        "Training a small model on the softened probabilities of a large one.",
        "14",
    ),
    Term("all-reduce", "", "Every worker gets the sum of the vectors of all.", "15"),
    Term(
        "Lanczos",
        "",
        "Ritz values by a short recurrence of products: the ends of a spectrum first.",
        "04",
    ),
)
