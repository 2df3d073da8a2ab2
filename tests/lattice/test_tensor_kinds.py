"""Tensors that are not plain: subclasses, fake, under dispatch modes and transforms of torch.func.

Each call gives the result of plain tensors, or an error with a remedy; none crashes the process.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import ctckit
from tests.lattice.every_function import FRAMES, FUNCTIONS, LENGTHS, TARGETS, WORDS, each_function, right_or_words, x

ctc_loss: Any = ctckit.ctc_loss
ctc_loss_with_logits: Any = ctckit.ctc_loss_with_logits


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


# ----------------------------------------------------------------------------------------------------------- torch.func


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
