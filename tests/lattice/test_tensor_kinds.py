"""Tensors that are not plain: subclasses, nested, sparse, quantized, fake, freed, misaligned, negated, transformed.

Each call gives the result of plain tensors, or an error with a remedy; none crashes the process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import ctckit

ctc_loss: Any = ctckit.ctc_loss
align: Any = ctckit.align
ctc_loss_with_logits: Any = ctckit.ctc_loss_with_logits
CLASSES = 5
x = torch.randn(12, 2, CLASSES, generator=torch.Generator().manual_seed(0)).log_softmax(2)
TARGETS, FRAMES, LENGTHS = torch.tensor([[1, 2, 2], [3, 1, 4]]), torch.tensor([12, 10]), torch.tensor([3, 2])

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ctc_loss": ctckit.ctc_loss,
    "ctc_loss_with_logits": ctckit.ctc_loss_with_logits,
    "CTCLoss": ctckit.CTCLoss(),
    "CTCWithLogitsLoss": ctckit.CTCWithLogitsLoss(reduction="none"),
    "forced_align": lambda x, t, i, n: ctckit.forced_align(x.transpose(0, 1), t, i, n)[1],
    "posteriors": ctckit.posteriors,
    "posteriors per state": lambda *a: ctckit.posteriors(*a, per_state=True, logits=True),
    "posteriors of a path": lambda *a: ctckit.posteriors(
        *a, states=torch.zeros(2, 12, dtype=torch.int32, device="cpu")
    ),
    "best_paths": lambda x, t, *_: ctckit.best_paths(x[:, 0], t[0])[0].scores,
    "path_posteriors": lambda x, t, *_: ctckit.path_posteriors(x[:, 1], t[1]).occupancy,
    "posterior_path": lambda x, t, *_: ctckit.posterior_path(x[:, 0], t[0]).scores,
    "sample_paths": lambda x, t, *_: (
        ctckit.sample_paths(x[:, 0], t[0], 2, generator=torch.Generator().manual_seed(0))[1].scores
    ),
    "feasible": lambda _, t, i, n: ctckit.feasible(t, i, n),
    "check": lambda *a: torch.tensor(len(ctckit.check(*a)), device="cpu"),
    "label_priors": lambda x, _, i, __: ctckit.label_priors(x, i),
    "align": lambda x, _, i, __: torch.tensor(
        [a.score for a in align(x.transpose(0, 1), [[1, 2], [3]], list("-abcd"), input_lengths=i)], device="cpu"
    ),
}
WORDS = ("pass", "call", "pad", "use", "move", "convert")
"""One of these is in every error with a remedy."""

each_function = pytest.mark.parametrize("name", FUNCTIONS)


def right_or_words(name: str, *arguments: Any, must: bool = False) -> None:
    """The result of plain tensors, or (unless `must`) an error of ctckit with a remedy."""
    want = FUNCTIONS[name](x, TARGETS, FRAMES, LENGTHS)
    try:
        got = FUNCTIONS[name](*arguments)
    except (ctckit.ArgumentTypeError, ctckit.ArgumentValueError) as error:
        assert not must, error  # noqa: PT017
        assert any(word in str(error) for word in WORDS), error  # noqa: PT017
        return
    got = getattr(got, "elem", got)
    torch.testing.assert_close(torch.as_tensor(got.detach()), want)


class Wrapper(torch.Tensor):
    """A subclass without memory of its own, like DTensor, AsyncCollectiveTensor and FakeTensor."""

    elem: Tensor
    rewraps = False

    @staticmethod
    def __new__(cls: Any, inner: Tensor) -> Any:
        outer = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=inner.device,
            requires_grad=inner.requires_grad,
        )  # fmt: skip
        outer.elem = inner.detach()
        return outer

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def bare(a: Any) -> Any:
            return a.elem if isinstance(a, Wrapper) else a

        def again(a: Any) -> Any:
            return cls(a) if cls.rewraps and isinstance(a, Tensor) else a

        return tree_map(again, function(*tree_map(bare, args), **tree_map(bare, kwargs or {})))


class Rewrapper(Wrapper):
    """Its results are wrapped again, as for most subclasses."""

    rewraps = True


class Named(torch.Tensor):
    """A subclass with memory of its own."""


@pytest.mark.parametrize("kind", [Wrapper, Rewrapper, Named])
@each_function
def test_subclasses(name: str, kind: Any) -> None:
    for which in itertools.product([False, True], repeat=4):
        arguments = [
            (a.as_subclass(Named) if kind is Named else kind(a)) if chosen else a
            for chosen, a in zip(which, (x, TARGETS, FRAMES, LENGTHS), strict=True)
        ]
        must = kind is Named or name.lower().startswith(("ctc", "feas"))
        with torch._C.DisableTorchFunctionSubclass() if kind is not Named else torch.enable_grad():
            right_or_words(name, *arguments, must=must)


def test_gradients_through_subclasses() -> None:
    y = x.clone().requires_grad_()
    for kind in (Wrapper, Rewrapper):
        with torch._C.DisableTorchFunctionSubclass():
            for reduction in ("none", "sum", "mean"):
                (want,) = torch.autograd.grad(
                    ctc_loss_with_logits(y, TARGETS, FRAMES, LENGTHS, reduction=reduction).sum(), y
                )
                loss = ctc_loss_with_logits(y, kind(TARGETS), kind(FRAMES), kind(LENGTHS), reduction=reduction).sum()
                (got,) = torch.autograd.grad(loss, y)
                torch.testing.assert_close(getattr(got, "elem", got), want)
                outer = kind(y.detach().requires_grad_())
                ctc_loss_with_logits(outer, TARGETS, FRAMES, LENGTHS, reduction=reduction).sum().backward()
                torch.testing.assert_close(getattr(outer.grad, "elem", outer.grad), want)


# ----------------------------------------------------------------------------------------------- torch's own subclasses


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Any:
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    store = distributed.FileStore(str(tmp_path_factory.mktemp("store") / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield distributed
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # torch.distributed warns of its own internals
@each_function
@pytest.mark.usefixtures("process_group")
def test_dtensors(name: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard

    mesh = init_device_mesh("cpu", (1,))
    for placement in (Replicate(), Shard(0)):
        spread = [DTensor.from_local(a, mesh, [placement]) for a in (x, TARGETS, FRAMES, LENGTHS)]
        for which in itertools.product([False, True], repeat=4):
            chosen = zip(which, spread, (x, TARGETS, FRAMES, LENGTHS), strict=True)
            right_or_words(name, *(a if c else b for c, a, b in chosen))
        local = [a.to_local() for a in spread]  # the advice
        right_or_words(name, *local, must=True)
        right_or_words(name, *(a.full_tensor() for a in spread), must=True)


@pytest.mark.filterwarnings("ignore")
@each_function
def test_lengths_that_another_process_still_sends(name: str, process_group: Any) -> None:
    from torch.distributed import _functional_collectives as collectives

    def sent(tensor: Tensor) -> Tensor:
        result: Tensor = collectives.all_gather_tensor(tensor, 0, process_group.group.WORLD)
        assert type(result) is not Tensor
        return result

    targets, frames, lengths = map(sent, (TARGETS, FRAMES, LENGTHS))
    right_or_words(name, x, targets, frames, lengths, must="path" not in name or name.startswith("posteriors"))
    for tensor in (targets, frames, lengths):
        collectives.wait_tensor(tensor)


@each_function
def test_fake_tensors(name: str) -> None:
    """They have no numbers: the result is a fake loss, or an error."""
    mode = FakeTensorMode()
    plain = (x, TARGETS, FRAMES, LENGTHS)
    fake = [mode.from_tensor(a) for a in plain]
    for which in itertools.product([False, True], repeat=4):
        arguments = [a if chosen else b for chosen, a, b in zip(which, fake, plain, strict=True)]
        if not any(which):
            continue
        try:
            got = FUNCTIONS[name](*arguments)
        except (ctckit.ArgumentTypeError, ctckit.ArgumentValueError) as error:
            assert any(word in str(error) for word in WORDS), error  # noqa: PT017
        else:
            unused = {"feasible": (0,), "label_priors": (1, 3), "align": (1, 3)}.get(name, ())
            if name in ("best_paths", "path_posteriors", "posterior_path", "sample_paths"):
                unused = (2, 3)
            used = [a for place, a in enumerate(arguments) if place not in unused]
            assert type(got) is type(fake[0]) or not any(type(a) is type(fake[0]) for a in used)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_shapes_under_a_fake_mode(dtype: torch.dtype, reduction: str) -> None:
    """The fake loss and its gradient have the shapes and dtypes of the real ones."""
    y = x.to(dtype, copy=True)
    real = ctc_loss(y, TARGETS, FRAMES, LENGTHS, reduction=reduction)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        own = mode.from_tensor(y).requires_grad_()
        fake = ctc_loss(own, TARGETS, FRAMES, LENGTHS, reduction=reduction)
        inputs = ctc_loss(own, mode.from_tensor(TARGETS), None, [3, 2], reduction=reduction)
    for loss in (fake, inputs):
        assert (loss.shape, loss.dtype) == (real.shape, real.dtype)
        assert loss.requires_grad


class Logging(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


@each_function
def test_modes_that_watch(name: str) -> None:
    with Logging() as log:
        right_or_words(name, x, TARGETS, FRAMES, LENGTHS, must=True)
    assert not name.lower().startswith("ctc") or "ctckit.loss.default" in log.seen


# ------------------------------------------------------------------------------------------------------- other layouts


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors(layout: torch.layout) -> None:
    """The expression in the error gives the right loss."""
    parts, rows = [x[:12, 0], x[:10, 1]], [TARGETS[0], TARGETS[1, :2]]
    log_probs = torch.nested.nested_tensor(parts, layout=layout)
    targets = torch.nested.nested_tensor(rows, layout=layout)
    for place in range(4):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = (log_probs, targets, targets, targets)[place]
        functions: tuple[Any, ...] = (ctc_loss, ctc_loss_with_logits, ctckit.posteriors, ctckit.check)
        for function in functions:
            with pytest.raises((ctckit.ArgumentTypeError, ctckit.ArgumentValueError)):
                function(*arguments)
    with pytest.raises(ctckit.ArgumentTypeError, match="log_probs is a nested tensor") as caught:
        ctc_loss(log_probs, TARGETS, None, LENGTHS)
    padded = advice(caught.value, "pad it with ", ", which gives", log_probs=log_probs)
    lengths = advice(caught.value, "input_lengths=", None, log_probs=log_probs)
    with pytest.raises(ctckit.ArgumentTypeError, match="targets is a nested tensor") as caught:
        ctc_loss(padded, targets, lengths, None)
    table = advice(caught.value, "pad it with ", ", and leave", targets=targets)
    want = ctc_loss(x, TARGETS, FRAMES, LENGTHS)
    assert torch.equal(ctc_loss(padded, table, lengths, None), want)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"input_lengths is a nested tensor.*one number per item"):
        ctc_loss(padded, table, targets, None)


def advice(error: Exception, start: str, end: str | None, **names: Tensor) -> Any:
    code = str(error).partition(start)[2]
    return eval(code if end is None else code.partition(end)[0], {"torch": torch, **names})  # noqa: S307  # our own words


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    ("place", "layout"), [*((place, "to_sparse") for place in range(4)), (1, "to_sparse_csr"), (0, "to_mkldnn")]
)
def test_layouts_that_are_not_dense(place: int, layout: str) -> None:
    arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
    arguments[place] = getattr(arguments[place], layout)()
    functions: tuple[Any, ...] = (ctckit.ctc_loss, ctckit.posteriors)
    for function in functions:
        with pytest.raises(ctckit.ArgumentTypeError, match=r"has layout .* convert it with \w+\.to_dense\(\)"):
            function(*arguments)
    arguments[place] = arguments[place].to_dense()
    assert torch.equal(ctc_loss(*arguments), ctc_loss(x, TARGETS, FRAMES, LENGTHS))


@pytest.mark.filterwarnings("ignore")  # torch says that it will drop quantized tensors
def test_quantized_tensors() -> None:
    quantized = torch.quantize_per_tensor(TARGETS.float(), 1.0, 0, torch.quint8)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"use targets\.dequantize\(\)\.long\(\)"):
        ctc_loss(x, quantized, FRAMES, LENGTHS)
    assert torch.equal(quantized.dequantize().long(), TARGETS)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"target_lengths\.dequantize\(\)\.long\(\)"):
        ctc_loss(x, TARGETS, FRAMES, quantized[0])
    with pytest.raises(ctckit.ArgumentTypeError, match=r"for example with log_probs\.dequantize\(\)"):
        ctc_loss(torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), TARGETS, FRAMES, LENGTHS)
    with pytest.raises(ctckit.ArgumentTypeError, match=r"for example with log_probs\.real"):
        ctc_loss(x * 1j, TARGETS, FRAMES, LENGTHS)


def test_meta_tensors() -> None:
    """Meta emissions give a meta loss; meta targets or lengths beside real emissions raise."""
    loss = ctc_loss(x.to("meta"), TARGETS.to("meta"), FRAMES, [3, 2])
    assert (loss.device.type, loss.shape) == ("meta", ())
    with pytest.raises(ctckit.ArgumentValueError, match="targets is on meta, but log_probs is on cpu"):
        ctc_loss(x, TARGETS.to("meta"), FRAMES, LENGTHS)
    for place, name in ((2, "input_lengths"), (3, "target_lengths")):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = arguments[place].to("meta")
        with pytest.raises(ctckit.ArgumentValueError, match=f"{name} is on the device meta.*that have numbers"):
            ctc_loss(*arguments)


META = torch.zeros(5, 3, device="meta")
NEED_NUMBERS: dict[str, tuple[str, Callable[[], object]]] = {
    "forced_align": ("log_probs", lambda: ctckit.forced_align(META[None], torch.tensor([[1]], device="meta"))),
    "check": ("emissions", lambda: ctckit.check(META, torch.tensor([1], device="meta"), 5, 1)),
    "check without emissions": ("targets", lambda: ctckit.check(None, torch.tensor([1], device="meta"), 5, 1)),
    "merge_tokens": ("tokens", lambda: ctckit.merge_tokens(META[:, 0].long(), torch.zeros(5))),
    "merge_tokens, scores": ("scores", lambda: ctckit.merge_tokens(torch.zeros(5).long(), META[:, 0])),
    "best_paths, wildcard": ("wildcard_score", lambda: ctckit.best_paths(x[:, 0], [1], wildcard_score=META[0, 0])),
    "best_paths": ("log_probs", lambda: ctckit.best_paths(META, [1])),
    "sample_paths": ("log_probs", lambda: ctckit.sample_paths(META, [1], 1)),
    "path_posteriors": ("log_probs", lambda: ctckit.path_posteriors(META, [1])),
    "posterior_path": ("log_probs", lambda: ctckit.posterior_path(META, [1])),
    "align": ("emissions", lambda: ctckit.align(META, [1])),
    "align, lengths": ("input_lengths", lambda: ctckit.align(x, [[1], [2]], input_lengths=FRAMES.to("meta"))),
    "align, priors": ("log_priors", lambda: ctckit.align(x[:, 0], [1], log_priors=META[0])),
}


@pytest.mark.parametrize("name", NEED_NUMBERS)
def test_meta_tensors_whose_numbers_are_needed(name: str) -> None:
    argument, call = NEED_NUMBERS[name]
    with pytest.raises(ctckit.ArgumentTypeError, match=f"{argument} is on the meta device, which holds no numbers"):
        call()
    assert ctckit.feasible(torch.tensor([[1]], device="meta"), torch.tensor([5], device="meta"), [1]).is_meta


# ------------------------------------------------------------------------------------------------------------- memory


def misaligned(tensor: Tensor) -> Tensor:
    """The same numbers at an address that is off by one byte."""
    raw = np.zeros(tensor.element_size() * tensor.numel() + 1, np.uint8)
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    view = np.ndarray(tuple(tensor.shape), dtype, raw.data, offset=1)
    view[...] = tensor.detach().numpy()
    odd = torch.from_numpy(view)
    assert odd.data_ptr() % odd.element_size() == 1
    return odd


def negated(tensor: Tensor) -> Tensor:
    """The same numbers with torch's negative bit: the memory holds the negated numbers."""
    odd = torch._neg_view(-tensor)
    assert odd.is_neg()
    return odd


@pytest.mark.parametrize("make", [misaligned, negated])
@each_function
def test_odd_memory(name: str, make: Callable[[Tensor], Tensor]) -> None:
    for which in itertools.product([False, True], repeat=4):
        arguments = zip(which, (x, TARGETS, FRAMES, LENGTHS), strict=True)
        right_or_words(name, *(make(a) if chosen else a for chosen, a in arguments), must=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_gradients_of_odd_memory(dtype: torch.dtype, inplace: bool) -> None:
    plain = x.to(dtype, copy=True)
    for make in (misaligned, negated):
        for arguments in ((TARGETS, FRAMES, LENGTHS), tuple(map(make, (TARGETS, FRAMES, LENGTHS)))):
            grads = []
            for own, rest in ((plain, (TARGETS, FRAMES, LENGTHS)), (make(plain), arguments)):
                y = own.detach().requires_grad_()
                loss = ctc_loss_with_logits(y.view_as(y) if not inplace else _kept(y), *rest, inplace_grad=inplace)
                loss.backward()
                grads.append(y.grad)
            torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-3 if dtype == torch.float16 else 1e-6)


def _kept(y: Tensor) -> Tensor:
    """An output that is a view of the input's memory, aligned or not, and that may be overwritten."""

    class Same(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, own: Tensor) -> Tensor:
            return own.detach()

        @staticmethod
        def backward(_: Any, grad: Tensor) -> Tensor:
            return grad.clone()

    return Same.apply(y)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("offset", [0, 1, 100_000])
@each_function
def test_freed_memory(name: str, offset: int, dtype: torch.dtype) -> None:
    """Freed storage, as of FSDP's parameters: an error, also for views with an offset."""
    used: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("best_paths", "path_posteriors", "posterior_path", "sample_paths"), (0, 1)
    )
    used |= {"label_priors": (0, 2), "align": (0, 2), "feasible": (1, 2, 3)}
    for place in used.get(name, (0, 1, 2, 3)):
        arguments = [x, TARGETS.to(dtype), FRAMES.to(dtype), LENGTHS.to(dtype)]
        whole = torch.zeros(offset + arguments[place].numel(), dtype=arguments[place].dtype)
        arguments[place] = whole[offset:].view(arguments[place].shape)
        whole.untyped_storage().resize_(0)
        # If the test itself indexes or transposes, torch raises.
        with pytest.raises((ctckit.ArgumentTypeError, RuntimeError), match=r"no memory|out of bounds for storage"):
            FUNCTIONS[name](*arguments)
        if place == 1 and name.startswith("ctc"):
            with pytest.raises(ctckit.ArgumentTypeError, match="no memory"):
                FUNCTIONS[name](x, arguments[1], None, None)


def test_zeros_without_memory() -> None:
    zeros = torch._efficientzerotensor((12, 2, CLASSES))
    assert zeros.data_ptr() == 0
    want = ctc_loss_with_logits(torch.zeros(12, 2, CLASSES), TARGETS, FRAMES, LENGTHS)
    assert torch.equal(ctc_loss_with_logits(zeros, TARGETS, FRAMES, LENGTHS), want)
    y = x.clone().requires_grad_()
    loss = ctc_loss(y, TARGETS, FRAMES, LENGTHS)
    (slope,) = torch.autograd.grad(loss, y, torch._efficientzerotensor(()))
    assert (slope == 0).all()


def test_functional_tensors() -> None:
    for place in range(4):
        arguments: list[Any] = [x, TARGETS, FRAMES, LENGTHS]
        arguments[place] = torch._to_functional_tensor(arguments[place])
        with pytest.raises(ctckit.ArgumentTypeError, match="no memory"):
            ctc_loss(*arguments)
    want = ctc_loss(x, TARGETS, FRAMES, LENGTHS)
    torch.testing.assert_close(torch.func.functionalize(ctckit.ctc_loss)(x, TARGETS, FRAMES, LENGTHS), want)


# ------------------------------------------------------------------------------------------------------- torch.func


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp"])
@each_function
def test_transforms(name: str, transform: str) -> None:
    def call(x: Tensor) -> Tensor:
        result: Tensor = FUNCTIONS[name](x, TARGETS, FRAMES, LENGTHS)
        return result

    want = call(x)
    try:
        if transform == "vmap":
            got = torch.vmap(call)(torch.stack((x, x)))[1]
        elif transform == "jvp":
            got = torch.func.jvp(call, (x,), (x,))[0]
        else:
            got = torch.func.grad_and_value(lambda x: call(x).double().sum())(x)[1]
            want = want.double().sum()
    except ctckit.ArgumentTypeError as error:
        assert "outside" in str(error)  # noqa: PT017
        assert not name.lower().startswith(("ctc", "posteriors", "label"))
    else:
        torch.testing.assert_close(got, want)
