"""torch.jit.trace, torch.jit.script, torch.fx and make_fx; and torch's rules for composite operators."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal import composite_compliance

import ctckit

# ruff: noqa: PLW0108  # torch traces functions of Python, and no others

# torch's notice that torch.export will replace TorchScript
pytestmark = pytest.mark.filterwarnings("ignore:.torch\\.jit\\.\\w+. is (deprecated|not supported in Python)")

TABLE, ROW = torch.tensor([[1, 2, 2], [3, 1, 4]]), torch.tensor([1, 2, 2, 3, 1])
x = torch.randn(12, 2, 5, generator=torch.Generator().manual_seed(0))
FRAMES, LENGTHS = torch.tensor([12, 10]), torch.tensor([3, 2])

ctc_loss: Any = ctckit.ctc_loss
ctc_loss_with_logits: Any = ctckit.ctc_loss_with_logits
OTHER = (  # with other sizes than the example
    torch.randn(15, 3, 7, generator=torch.Generator().manual_seed(1)),
    torch.tensor([[1, 2, 2, 6], [3, 1, 4, 1], [5, 5, 1, 2]]),
    torch.tensor([15, 14, 9]),
    torch.tensor([4, 3, 2]),
)


# ---------------------------------------------------------------------------------------------------- torch.jit.trace


def slope(function: Callable[..., Tensor], x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    y = x.clone().requires_grad_()
    loss = function(y, *rest)
    return loss.detach(), torch.autograd.grad(loss.sum(), y)[0]


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("loss", [ctc_loss, ctc_loss_with_logits])
def test_a_trace_is_right_for_other_inputs(loss: Any, reduction: str, dtype: torch.dtype, needs_gradient: bool) -> None:
    """With other values and sizes, saved and loaded; with its gradient."""

    def function(x: Tensor, *rest: Tensor) -> Tensor:
        result: Tensor = loss(x, *rest, reduction=reduction)
        return result

    example = (x.clone().requires_grad_(needs_gradient), *(a.to(dtype) for a in (TABLE, FRAMES, LENGTHS)))
    traced = torch.jit.trace(function, example)
    assert "ctckit::loss" in str(traced.graph)
    saved = io.BytesIO()
    torch.jit.save(traced, saved)
    saved.seek(0)
    for each in (traced, torch.jit.load(saved)):
        for arguments in ((x, TABLE, FRAMES, LENGTHS), (x.flip(0), TABLE.flip(1), FRAMES.flip(0), LENGTHS), OTHER):
            for got, want in zip(slope(each, *arguments), slope(function, *arguments), strict=True):
                torch.testing.assert_close(got, want)


FORMS: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], tuple[Any, ...]]] = {
    "batch first": (
        lambda *a: ctc_loss(*a, batch_first=True),
        (x.transpose(0, 1), TABLE, FRAMES, LENGTHS),
        (OTHER[0].transpose(0, 1), *OTHER[1:]),
    ),
    "no lengths": (lambda x, t: ctc_loss_with_logits(x, t), (x, TABLE), OTHER[:2]),
    "concatenated": (
        ctc_loss, (x, ROW, FRAMES, LENGTHS), (OTHER[0], torch.tensor([1, 2, 2, 6, 3, 1, 4, 5, 5]), *OTHER[2:]),
    ),
    "unbatched": (
        lambda x, t: ctc_loss_with_logits(x, t, reduction="none"), (x[:, 0], TABLE[0]), (OTHER[0][:, 1], OTHER[1][1]),
    ),
    "zero infinity": (
        lambda *a: ctc_loss(*a, zero_infinity=True, reduction="sum"),
        (x, TABLE, FRAMES, LENGTHS),
        (*OTHER[:2], torch.tensor([15, 2, 9]), OTHER[3]),
    ),
    "float16": (
        lambda *a: ctc_loss_with_logits(*a),
        (x.half(), TABLE, FRAMES, LENGTHS),
        (OTHER[0].half(), *OTHER[1:]),
    ),
    "inplace": (
        lambda x, *a: ctc_loss_with_logits(x * 1, *a, inplace_grad=True), (x, TABLE, FRAMES, LENGTHS), OTHER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_traced(form: str) -> None:
    function, example, other = FORMS[form]
    traced = torch.jit.trace(function, example)
    for arguments in (example, other):
        for got, want in zip(slope(traced, *arguments), slope(function, *arguments), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
def test_traces_on_other_backends(backend: str) -> None:
    assert backend == "reference"
    traced = torch.jit.trace(lambda *a: ctc_loss(*a), (x, TABLE, FRAMES, LENGTHS))
    for got, want in zip(slope(traced, *OTHER), slope(ctc_loss, *OTHER), strict=True):
        torch.testing.assert_close(got, want)


class Model(torch.nn.Module):
    """A module whose forward calls the loss."""

    def __init__(self, criterion: torch.nn.Module) -> None:
        super().__init__()
        self.layer, self.criterion = torch.nn.Linear(5, 7), criterion

    def forward(self, features: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        result: Tensor = self.criterion(self.layer(features), targets, input_lengths, target_lengths)
        return result


class Holder(Model):
    """A module whose forward does not call the loss."""

    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        result: Tensor = self.layer(features)
        return result


CRITERIA = [
    ctckit.CTCLoss(reduction="sum"),
    ctckit.CTCWithLogitsLoss(zero_infinity=True),
    ctckit.CTCWithLogitsLoss(inplace_grad=True),
]
each_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=str)


@each_criterion
def test_a_traced_model_trains(criterion: torch.nn.Module) -> None:
    model = Model(criterion)
    arguments = (x, TABLE, FRAMES, LENGTHS)
    traced = torch.jit.trace(model, arguments)
    model(*arguments).backward()
    want = model.layer.weight.grad
    model.layer.weight.grad = None
    traced(*arguments).backward()
    torch.testing.assert_close(model.layer.weight.grad, want)


def test_errors_in_the_example_are_those_of_any_call() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="targets has shape"):
        torch.jit.trace(lambda *a: ctc_loss(*a), (x, TABLE[:1], FRAMES, LENGTHS))
    traced = torch.jit.trace(lambda *a: ctc_loss(*a), (x, TABLE, FRAMES, LENGTHS))
    with pytest.raises(RuntimeError, match=r"input_lengths\[1\] is 99"):
        traced(x, TABLE, torch.tensor([1, 99]), LENGTHS)


# Functions that are no operators of torch: a trace or a graph would hold their results as constants.
OUTSIDE: dict[str, Callable[..., Any]] = {
    "forced_align": lambda x: ctckit.forced_align(x.transpose(0, 1), TABLE, FRAMES, LENGTHS),
    "posteriors": lambda x: ctckit.posteriors(x, TABLE, FRAMES, LENGTHS),
    "posteriors of states": lambda x: ctckit.posteriors(x, TABLE, states=torch.zeros(2, 12, dtype=torch.int64)),
    "best_paths": lambda x: ctckit.best_paths(x[:, 0], [1, 2])[0].scores,
    "sample_paths": lambda x: ctckit.sample_paths(x[:, 0], [1, 2], 2)[0].scores,
    "path_posteriors": lambda x: ctckit.path_posteriors(x[:, 0], [1, 2]).occupancy,
    "posterior_path": lambda x: ctckit.posterior_path(x[:, 0], [1, 2]).scores,
    "check": lambda x: torch.tensor(len(ctckit.check(x, TABLE))),
    "align": lambda x: ctckit.align(x.transpose(0, 1), [[1], [2]], list("-abcd"), logits=True) and x,
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # warnings of the test's own indexing
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_a_trace_cannot_hold_says_so(name: str) -> None:
    with pytest.raises(ctckit.ArgumentTypeError, match=r"traced.*(call it on|call it outside)"):
        torch.jit.trace(OUTSIDE[name], (x.log_softmax(2),))
    for mode in ("real", "fake", "symbolic"):
        with pytest.raises(ctckit.ArgumentTypeError, match=r"traced without its numbers|call it outside|FakeTensor"):
            make_fx(OUTSIDE[name], tracing_mode=mode)(x.log_softmax(2))


def test_feasible_and_label_priors_are_traced() -> None:
    traced = torch.jit.trace(lambda t, i, n: ctckit.feasible(t, i, n), (TABLE, FRAMES, LENGTHS))
    short = torch.tensor([3, 1])
    assert traced(TABLE, short, LENGTHS).tolist() == ctckit.feasible(TABLE, short, LENGTHS).tolist() == [False, False]
    priors = torch.jit.trace(lambda x, i: ctckit.label_priors(x, i, logits=True), (x, FRAMES))
    torch.testing.assert_close(priors(x * 2, short), ctckit.label_priors(x * 2, short, logits=True))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_keeps_the_operator(mode: Any) -> None:
    graph = make_fx(lambda *a: ctc_loss(*a), tracing_mode=mode)(x, TABLE, FRAMES, LENGTHS)
    assert any("ctckit.loss" in str(node.target) for node in graph.graph.nodes)
    torch.testing.assert_close(graph(x * 2, TABLE, FRAMES, LENGTHS), ctc_loss(x * 2, TABLE, FRAMES, LENGTHS))


# --------------------------------------------------------------------------------------------------- torch.jit.script


@each_criterion
def test_a_module_that_holds_a_loss_is_scripted_and_saved(criterion: torch.nn.Module) -> None:
    model = Holder(criterion)
    saved = io.BytesIO()
    torch.jit.save(torch.jit.script(model), saved)
    saved.seek(0)
    torch.testing.assert_close(torch.jit.load(saved)(x), model(x))


@each_criterion
def test_a_scripted_module_calls_its_loss(criterion: torch.nn.Module) -> None:
    """The loss runs in Python; saving the module is an error of torch that names the call."""
    model = Model(criterion)
    scripted = torch.jit.script(model)
    for arguments in ((x, TABLE, FRAMES, LENGTHS), (x * 2, TABLE, FRAMES - 1, LENGTHS)):
        torch.testing.assert_close(scripted(*arguments), model(*arguments))
    with pytest.raises(RuntimeError, match="Could not export Python function call 'forward'"):
        torch.jit.save(scripted, io.BytesIO())


# ------------------------------------------------------------------------------------------------------------ torch.fx


@each_criterion
def test_symbolic_trace_keeps_a_module_s_call(criterion: torch.nn.Module) -> None:
    model = Model(criterion)
    graph = torch.fx.symbolic_trace(model)
    function = ctckit.ctc_loss_with_logits if isinstance(criterion, ctckit.CTCWithLogitsLoss) else ctckit.ctc_loss
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == [function]
    assert function.__name__ in graph.code
    for arguments in ((x, TABLE, FRAMES, LENGTHS), (x * 2, TABLE, FRAMES - 1, LENGTHS)):
        torch.testing.assert_close(graph(*arguments), model(*arguments))


NODES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "ctc_loss": (ctckit.ctc_loss, lambda *a: ctc_loss(*a, blank=4), (x, torch.ones(2, 1).long(), FRAMES, None)),
    "only lengths": (ctckit.ctc_loss, lambda i: ctc_loss(x, TABLE, i, LENGTHS), (FRAMES,)),
    "with logits": (ctckit.ctc_loss_with_logits, lambda x, t: ctc_loss_with_logits(x, t), (x, TABLE)),
    "posteriors": (ctckit.posteriors, lambda x, t: ctckit.posteriors(x, t, logits=True), (x, TABLE)),
    "feasible": (ctckit.feasible, lambda t, i: ctckit.feasible(t, i), (TABLE, FRAMES)),
    "label_priors": (ctckit.label_priors, lambda x: ctckit.label_priors(x, logits=True), (x,)),
    "best_paths": (ctckit.best_paths, lambda x, t: ctckit.best_paths(x, t)[0], (x[:, 0], TABLE[0])),
    "path_posteriors": (ctckit.path_posteriors, lambda x: ctckit.path_posteriors(x, [1])[0], (x[:, 0],)),
    "posterior_path": (ctckit.posterior_path, lambda x: ctckit.posterior_path(x, [1])[0], (x[:, 0],)),
    "check": (ctckit.check, lambda x, t: ctckit.check(x, t), (x, TABLE)),
    "forced_align": (ctckit.forced_align, lambda x, t: ctckit.forced_align(x, t)[1], (x.transpose(0, 1), TABLE)),
}


@pytest.mark.parametrize("name", NODES)
def test_symbolic_trace_keeps_a_function_s_call(name: str) -> None:
    function, call, arguments = NODES[name]
    names = [f"a{place}" for place in range(len(arguments))]
    traced: Any = eval(f"lambda {', '.join(names)}: call({', '.join(names)})", {"call": call})  # noqa: S307  # fx takes no *a
    graph = torch.fx.symbolic_trace(traced)
    assert function in [node.target for node in graph.graph.nodes if node.op == "call_function"]
    got, want = graph(*arguments), call(*arguments)
    if not isinstance(want, list):
        torch.testing.assert_close(got, want)
    else:
        assert got == want


# ------------------------------------------------------------------------------------------------ composite compliance


def equal(got: Any, want: Any, **_: Any) -> None:
    torch.testing.assert_close(got, want, equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "reduction"), [(torch.float64, "none"), (torch.float32, "mean"), (torch.float16, "mean")], ids=str
)
@pytest.mark.parametrize("loss", [ctc_loss, ctc_loss_with_logits])
def test_torch_s_rules_for_composite_operators(loss: Any, dtype: torch.dtype, reduction: str) -> None:
    """For any arguments, gradients and tangents of a subclass without memory."""
    y = x.to(dtype, copy=True).requires_grad_()
    arguments, options = (y, TABLE, FRAMES, LENGTHS), {"reduction": reduction}
    composite_compliance.check_with_mode(loss, (y.detach(), *arguments[1:]), options, equal)
    composite_compliance.check_all_permutations(loss, (y.detach(), *arguments[1:]), options, equal)
    composite_compliance.check_backward_formula(loss, arguments, options, assert_equal_fn=equal)
    if dtype != torch.float16:
        composite_compliance.check_forward_ad_formula(loss, arguments, options, assert_equal_fn=equal)
