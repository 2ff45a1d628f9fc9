"""H @ v and G @ v, the Hessian and the Gauss-Newton matrix known by their products alone.

All second derivatives are taken by double backward. torch.func.hessian and nested forward mode
are wrong through LayerNorm in torch 2.13 (tests/library/curvature/test_operators.py shows it);
this is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ..arguments import flag
from ..interrupt import checkpoint
from ..objective.parameters import check_params, flatten, unflatten
from ..objective.ranks import ProcessGroup
from ..objective.second_derivative import refuse_weight_norm, twice_differentiable_attention
from ..objective.task_loss import NO_PARAMETER, Outputs, TaskLoss, gradients
from .damped import Shifted, check_columns
from .look import check_same
from .scipy_operator import to_scipy

# Of a list of tensors like the parameters, and of one micro-batch's matrix.
Product = Callable[[list[Tensor]], Sequence[Tensor]]


class CurvatureOperator:
    """A symmetric matrix known by its products: ``op @ v`` for v of shape (n,) or (n, k).

    Args:
        fn: the loss function, called as :class:`~rlhf_lib.objective.TaskLoss`
            says, or a TaskLoss.
        params: trained parameters; the flat vector follows their order.
        batches: micro-batches of unequal size; products are weighted by their sample counts.
        count: weight of a micro-batch, default its number of samples; "sum" adds up losses that are
            sums (see :class:`~rlhf_lib.objective.TaskLoss`).
        keep_graph: True builds each graph once and keeps it for all products: fastest. False
            rebuilds it micro-batch by micro-batch in each product: memory for one micro-batch's
            graph only, at 1.7 to 1.9 times the time (benchmarks/products.py).
        process_group: the ranks that share the loss, each with its own batches; see
            :mod:`~rlhf_lib.objective.ranks`. All ranks make the operator and the same products.

    Attributes:
        loss: the loss as a float. gradient: its flat gradient, shape (n,). Both come from the
        graph of the products and cost nothing more.
        products: matrix-vector products so far.
        product_cost: cost of one product in gradients, by counting matrix products. Where these are
            small other operations show: beside 1.33 counted for a Gauss-Newton product an MLP of
            512 units takes 1.6 gradients' time, recurrent layers of 64 units 1.9 to 2.1.
    """

    product_cost: float

    def __init__(
        self,
        fn: Callable | TaskLoss,
        params: Iterable[Tensor],
        batches: Iterable | None = None,
        *,
        count: Callable | str | None = None,
        keep_graph: bool = True,
        process_group: ProcessGroup = None,
    ):
        self.params = check_params(params)
        device = self.params[0].device
        self.task = (
            fn
            if isinstance(fn, TaskLoss)
            else TaskLoss(fn, batches, count=count, device=device, process_group=process_group)
        )
        n = sum(p.numel() for p in self.params)
        self.shape = (n, n)
        self.dtype, self.device = self.params[0].dtype, device
        self.keep_graph, self.products = flag("keep_graph", keep_graph), 0
        self._graphs: list[Product] = []
        self._losses: list[float] = []  # of the micro-batches
        self.gradient, self.loss = self.task.together(self._build, self.params, same=self.params)

    def _build(self) -> tuple[Tensor | None, float]:
        """Graphs, gradient and loss of the micro-batches, as a sum."""
        value, total = 0.0, None
        with torch.enable_grad(), twice_differentiable_attention():
            for weight, loss, outputs in self.task.evaluate():
                self._check(loss, outputs)
                if self.keep_graph:
                    gradient, product = self._linearize(weight * loss, outputs, retain=True)
                    self._graphs.append(product)
                else:
                    gradient = gradients(weight * loss, self.params)
                self._losses.append(loss.item())
                value += weight * self._losses[-1]
                with torch.no_grad():
                    flat = flatten(gradient)
                total = flat if total is None else total.add_(flat)
        return total, value

    def renew(self) -> int:
        """Make the graphs anew, after the parameters have moved and are back.

        Returns how many gradients of the task that took.
        """
        if self.keep_graph:
            self._graphs.clear(), self._losses.clear()
            self.gradient, self.loss = self.task.together(
                self._build, self.params, same=self.params
            )
        return int(self.keep_graph)

    def _check(self, loss: Tensor, outputs: Outputs) -> None:
        """Raise for a micro-batch that this curvature is not defined for."""

    def _linearize(
        self, loss: Tensor, outputs: Outputs, *, retain: bool
    ) -> tuple[tuple[Tensor, ...], Product]:
        """Gradient of one micro-batch, and its product.

        Without ``retain`` the function works once and frees the graph on its way.
        """
        raise NotImplementedError

    def _products(self) -> Iterator[Product]:
        if self.keep_graph:
            yield from self._graphs
            return
        passes = zip(self._losses, self.task.evaluate(), strict=True)
        for first, (weight, loss, outputs) in passes:
            check_same(first, loss.item(), self.dtype, loss.dtype)
            yield self._linearize(weight * loss, outputs, retain=False)[1]

    def __matmul__(self, v: Tensor) -> Tensor:
        check_columns(v, self.shape[0])
        if v.ndim == 2:
            return torch.stack([self @ column for column in v.T], dim=1)
        return self.matvec(v)

    def matvec(self, v: Tensor, out: Tensor | None = None) -> Tensor:
        """The product with one vector; into ``out`` of shape (n,) if it is given.

        Memory that is already mapped is worth having: at 22.7 million parameters a fresh result
        costs as much as a third of the product (benchmarks).
        """
        self.products += 1
        pieces = unflatten(v.detach().to(self.dtype), self.params)
        out = torch.empty_like(self.gradient) if out is None else out

        def own_product() -> tuple[Tensor | None, float]:
            first = True
            # Attention, too: checkpoints compute parts of the model again in here.
            with torch.enable_grad(), twice_differentiable_attention():
                for product in self._products():
                    checkpoint()
                    found = list(product(pieces))
                    with torch.no_grad():
                        for total in reversed(unflatten(out, self.params)):
                            part = found.pop()  # each goes as soon as it is added
                            total.copy_(part) if first else total.add_(part)
                    first = False
            return None if first else out, 0.0

        return self.task.together(own_product, self.params, same=[v], out=out)[0]

    def shifted(self, shift: float | Tensor) -> Shifted:
        """The operator plus ``shift`` times I, or plus diag(shift) for a shift of shape (n,)."""
        return Shifted(self, shift)

    def to_scipy(self):
        """This operator as a ``scipy.sparse.linalg.LinearOperator``: see :func:`.to_scipy`."""
        return to_scipy(self)

    def dense(self) -> Tensor:
        """The matrix itself, shape (n, n), by n products: for tests and toys."""
        return self @ torch.eye(self.shape[0], dtype=self.dtype, device=self.device)


class HessianOperator(CurvatureOperator):
    """H @ v for the Hessian H of the loss (Pearlmutter, 1994): the gradient of gradient . v.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> HessianOperator(lambda: (w**3).sum(), [w]) @ torch.tensor([1.0, 1.0])
    tensor([ 6., 12.])
    """

    product_cost = 2.0

    def _linearize(
        self, loss: Tensor, outputs: Outputs, *, retain: bool
    ) -> tuple[tuple[Tensor, ...], Product]:
        params = self.params  # product must not hold self: a cycle would keep the graph alive
        refuse_weight_norm([loss])
        gradient = gradients(loss, params, create_graph=True)
        flags = [g.requires_grad for g in gradient]
        # Edges, not tensors: the graph is needed for long, the gradient's numbers are not.
        curved = [get_gradient_edge(g) for g in _keep(gradient, flags)]

        def product(v: list[Tensor]) -> Sequence[Tensor]:
            if not curved:  # the loss is linear in the parameters
                return [torch.zeros_like(p) for p in params]
            return gradients(curved, params, _keep(v, flags), retain_graph=retain)

        return gradient, product


class GaussNewtonOperator(CurvatureOperator):
    """G @ v = J' H_L (J v), the generalized Gauss-Newton matrix (Schraudolph, 2002).

    J is the Jacobian of the model's outputs with respect to the parameters and H_L the Hessian of
    the loss with respect to the outputs. G is positive semi-definite when the loss is convex in
    the outputs. ``fn`` returns ``(loss, outputs)``, and the loss must reach the parameters through
    these outputs only.

    J v is had by differentiating J' u with respect to u (the double-vjp trick). With u the
    gradient of the loss at the outputs, J' u is the gradient of the loss itself, so one backward
    pass serves both.
    """

    product_cost = 4 / 3

    def _check(self, loss: Tensor, outputs: Outputs) -> None:
        if not outputs:
            raise TypeError(
                "the Gauss-Newton matrix needs the model's outputs: return (loss, outputs), or "
                "use curvature='hessian' (HessianOperator) with the loss alone"
            )
        if not loss.requires_grad:
            raise RuntimeError(NO_PARAMETER)
        _check_path(loss, outputs, self.params)
        for i, output in enumerate(outputs):
            if not output.requires_grad:
                raise ValueError(
                    f"expected outputs of the model alone, got output {i} of shape "
                    f"{tuple(output.shape)} in {output.dtype}, which does not depend on the "
                    "parameters: return those alone that do (logits, but no labels or predictions)"
                )

    def _linearize(
        self, loss: Tensor, outputs: Outputs, *, retain: bool
    ) -> tuple[tuple[Tensor, ...], Product]:
        params = self.params  # not self in product, as above
        loss_gradient = gradients(loss, outputs, create_graph=True)
        u = [g.detach().clone().requires_grad_(True) for g in loss_gradient]
        gradient = gradients(outputs, params, u, create_graph=True)
        reached = [g.requires_grad for g in gradient]
        curved = [g.requires_grad for g in loss_gradient]
        differentiable = [get_gradient_edge(g) for g in _keep(gradient, reached)]

        def product(v: list[Tensor]) -> Sequence[Tensor]:
            if not any(reached) or not any(curved):
                return [torch.zeros_like(p) for p in params]
            jv = gradients(differentiable, u, _keep(v, reached), retain_graph=True)
            if not retain:
                differentiable.clear()  # and with it the graph of J'u, before the last pass
            hjv = gradients(
                _keep(loss_gradient, curved), outputs, _keep(jv, curved), retain_graph=True
            )
            return gradients(outputs, params, hjv, retain_graph=retain)

        return gradient, product


def _keep(values: Iterable[Tensor], flags: Iterable[bool]) -> list[Tensor]:
    return [x for x, flag in zip(values, flags, strict=True) if flag]


def _check_path(loss: Tensor, outputs: Outputs, params: list[Tensor]) -> None:
    """Refuse outputs that do not lie, once each, on every path from the parameters to the loss."""
    trained = {id(p) for p in params}
    # Nodes, not their ids: a set of ids would let the nodes go, and others take their addresses.
    ends = {(o.grad_fn, o.output_nr) for o in outputs if o.grad_fn is not None}
    leaves = {id(o) for o in outputs if o.grad_fn is None}

    def walk(todo: list) -> tuple[bool, bool]:
        """Whether the graph below leads to an output, and whether to a parameter around them."""
        seen, met_output, met_parameter = set(), False, False
        while todo:
            edge = todo.pop()
            if edge[0] is None or edge in seen:
                continue
            seen.add(edge)
            variable = getattr(edge[0], "variable", None)
            if edge in ends or (variable is not None and id(variable) in leaves):
                met_output = True
            elif variable is not None and id(variable) in trained:
                met_parameter = True
            else:
                todo.extend(edge[0].next_functions)
        return met_output, met_parameter

    met_output, met_parameter = walk([(loss.grad_fn, loss.output_nr)])
    if not met_output:
        raise ValueError(
            "the loss was not computed from the outputs returned with it: return the very tensor "
            "that went into the loss, not a copy, a view or a detached version of it"
        )
    if met_parameter:
        raise ValueError(
            "the loss depends on a parameter other than through the outputs that were "
            "returned with it (a weight penalty in the closure?): pass the penalty as "
            "regularizer=..., return all outputs that the loss uses as a tuple (of a variational "
            "autoencoder also mean.clone() and log_variance.clone(), the ones that the KL term is "
            "made of), or use curvature='hessian'"
        )
    if len(outputs) > 1 and (
        len(ends) + len(leaves) < len(outputs)
        or any(walk(list(node.next_functions))[0] for node, _ in ends)
    ):
        raise ValueError(
            "one of the outputs was computed from another one (hidden states and logits?), so its "
            "path would count twice: return only those that go into the loss themselves; where "
            "both do (a variational autoencoder's mean, and what is decoded from it), return a "
            "copy, mean.clone(), that goes into the loss alone; or use curvature='hessian'"
        )
