"""The calls of other libraries, which run in their own processes (`peers` starts them).

Only NumPy and the peer are imported, and Python 3.9 is enough: some peers need an older Python or another torch than
ours. Every peer gets its inputs in the layout it likes best, prepared outside the timed call.
"""

# ruff: noqa: PLC0415 - only the peer that is measured is imported
# mypy: disable-error-code="import-not-found, import-untyped, attr-defined, no-untyped-call"

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases, timing

# The call that is timed, and what turns its result into NumPy. A loss returns the losses of the items and the gradient
# of their sum, as NumPy (T, N, C). An aligner returns a list of items, each turned into a path (T,), or () without one.
Prepared = tuple[Callable[[], Any], Callable[..., Any]]
Items = list[tuple[np.ndarray, np.ndarray]]  # log-probabilities (T, C) and target of each item


def optax(inputs: cases.Inputs) -> Prepared:
    """optax.ctc_loss, compiled by JAX's jit for the CPU."""
    import jax
    import jax.numpy as jnp
    from optax import ctc_loss

    labels = inputs.targets.shape[1]
    logits = jnp.asarray(inputs.logits.swapaxes(0, 1))
    late = np.arange(logits.shape[1]) >= inputs.input_lengths[:, None]
    unused = np.arange(labels) >= inputs.target_lengths[:, None]
    targets = jnp.asarray(inputs.targets, dtype=jnp.int32)
    frame_pad, label_pad = (jnp.asarray(pad, dtype=jnp.float32) for pad in (late, unused))

    def total(logits: Any) -> Any:
        losses = ctc_loss(logits, frame_pad, targets, label_pad)
        return losses.sum(), losses

    compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

    def call() -> tuple[Any, Any]:
        (_, losses), gradient = jax.block_until_ready(compiled(logits))
        return losses, gradient

    return call, lambda losses, gradient: (np.asarray(losses), np.asarray(gradient).swapaxes(0, 1))


def tensorflow(inputs: cases.Inputs) -> Prepared:
    """tf.nn.ctc_loss with sparse labels: its C++ kernel, the faster of its two ways on a CPU."""
    import tensorflow as tf

    classes = inputs.logits.shape[2]
    logits = tf.constant(np.roll(inputs.logits, -1, axis=2))  # that kernel's blank is the last
    lengths = tf.constant(inputs.input_lengths, tf.int32)
    places = np.argwhere(np.arange(inputs.targets.shape[1]) < inputs.target_lengths[:, None])
    labels = tf.SparseTensor(places, (inputs.targets[tuple(places.T)] - 1).astype(np.int32), inputs.targets.shape)

    def loss_and_gradient(logits: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = tf.nn.ctc_loss(labels, logits, None, lengths, logits_time_major=True, blank_index=classes - 1)
        return losses, tape.gradient(losses, logits)

    compiled = tf.function(loss_and_gradient)

    def to_numpy(losses: Any, gradient: Any) -> tuple[np.ndarray, np.ndarray]:
        return losses.numpy(), np.roll(gradient.numpy(), 1, axis=2)

    return lambda: compiled(logits), to_numpy


def warpctc(inputs: cases.Inputs) -> Prepared:
    """warp-ctc, as PaddlePaddle ships it (paddle.nn.functional.ctc_loss; softmax inside)."""
    import paddle

    paddle.set_device("cpu")
    logits = paddle.to_tensor(inputs.logits, stop_gradient=False)
    labels = paddle.to_tensor(inputs.targets, dtype="int32")
    frames = paddle.to_tensor(inputs.input_lengths)
    lengths = paddle.to_tensor(inputs.target_lengths)

    def call() -> tuple[Any, Any]:
        logits.clear_gradient(set_to_zero=False)
        losses = paddle.nn.functional.ctc_loss(logits, labels, frames, lengths, reduction="none")
        losses.sum().backward()
        return losses, logits.grad

    return call, lambda losses, gradient: (losses.numpy().reshape(-1), gradient.numpy())


def k2(inputs: cases.Inputs, beam: float = 10) -> Prepared:
    """k2.ctc_loss with double-precision scores. Graphs are built in the call: labels change.

    `beam` is k2's default: it leaves out paths that are much worse than the best.
    """
    import k2
    import torch

    order = np.argsort(-inputs.input_lengths, kind="stable")  # it wants longest first
    back = np.argsort(order)
    logits = torch.from_numpy(inputs.logits.swapaxes(0, 1)[order].copy()).requires_grad_()
    labels = [inputs.targets[n, : inputs.target_lengths[n]].tolist() for n in order]
    items = torch.arange(len(order))
    segments = torch.stack([items, torch.zeros_like(items), torch.from_numpy(inputs.input_lengths[order])], dim=1).int()

    def call() -> tuple[Any, Any]:
        logits.grad = None
        losses = k2.ctc_loss(
            k2.ctc_graph(labels),
            k2.DenseFsaVec(logits.log_softmax(-1), segments),
            output_beam=beam,
            reduction="none",
            use_double_scores=True,
        )
        losses.sum().backward()
        return losses, logits.grad

    def to_numpy(losses: Any, gradient: Any) -> tuple[np.ndarray, np.ndarray]:
        return losses.detach().numpy()[back], gradient.numpy()[back].swapaxes(0, 1)

    return call, to_numpy


def numpy_viterbi(items: Items) -> Prepared:
    """The best path as one would write it with arrays over the states: a loop over the frames."""
    return lambda: [_viterbi(*item) for item in items], np.asarray


def _viterbi(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    states = np.zeros(2 * len(target) + 1, dtype=np.int64)
    states[1::2] = target
    skip = np.zeros(len(states), dtype=np.float32)
    skip[:2] = -np.inf
    skip[2:][(states[2:] == 0) | (states[2:] == states[:-2])] = -np.inf
    alpha = np.full(len(states) + 2, -np.inf, dtype=np.float32)
    alpha[2] = 0
    moves = np.empty((len(x), len(states)), dtype=np.uint8)
    arcs = np.empty((3, len(states)), dtype=np.float32)
    for t, row in enumerate(x):
        arcs[0], arcs[1], arcs[2] = alpha[2:], alpha[1:-1], alpha[:-2] + skip
        moves[t] = arcs.argmax(0)
        alpha[2:] = arcs.max(0) + row[states]
    state = len(states) - 1 - int(len(target) > 0 and alpha[-2] >= alpha[-1])
    path = np.empty(len(x), dtype=np.int64)
    for t in range(len(x) - 1, -1, -1):
        path[t] = states[state]
        state -= int(moves[t, state])
    return path


def torchaudio(items: Items) -> Prepared:
    """torchaudio.functional.forced_align, one item a call: it takes no more."""
    import torch
    from torchaudio.functional import forced_align

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    batches = [(torch.from_numpy(x[None]), torch.from_numpy(y[None])) for x, y in items]
    return lambda: [forced_align(x, y) for x, y in batches], lambda result: result[0][0].numpy()


def ctc_forced_aligner(items: Items) -> Prepared:
    """The core of ctc-forced-aligner, without the package around it, which wants an audio stack."""
    spec = importlib.util.find_spec("ctc_forced_aligner")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "ctc_aligner.py")
    inner = importlib.util.spec_from_file_location("ctc_aligner", path)
    assert inner is not None
    assert inner.loader is not None
    core = importlib.util.module_from_spec(inner)
    inner.loader.exec_module(core)
    return lambda: [core.align_sequences(x[None], y[None], 0) for x, y in items], lambda result: result[0][0]


def ctc_segmentation(items: Items) -> Prepared:
    """ctc_segmentation without its window: the whole input, as all the others. It gives times, no path of classes."""
    import ctc_segmentation as package

    config = package.CtcSegmentationParameters(char_list=[str(c) for c in range(items[0][0].shape[1])], blank=0)
    config.min_window_size = len(items[0][0]) + 1
    prepared = [(x, package.prepare_token_list(config, [y])[0]) for x, y in items]
    return lambda: [package.ctc_segmentation(config, x, truth) for x, truth in prepared], lambda _: ()


# name: (how to prepare it, the module that it needs)
LOSSES: dict[str, tuple[Callable[[cases.Inputs], Prepared], str]] = {
    "optax": (optax, "optax"),
    "tensorflow": (tensorflow, "tensorflow"),
    "warp-ctc": (warpctc, "paddle"),
    "k2": (k2, "k2"),
    "k2-exact": (functools.partial(k2, beam=1e6), "k2"),  # leaves no path out
}
ALIGNERS: dict[str, tuple[Callable[[Items], Prepared], str]] = {
    "torchaudio": (torchaudio, "torchaudio"),
    "ctc-forced-aligner": (ctc_forced_aligner, "ctc_forced_aligner"),
    "ctc-segmentation": (ctc_segmentation, "ctc_segmentation"),
    "numpy": (numpy_viterbi, "numpy"),
}
PEERS = {**LOSSES, **ALIGNERS}


def limit_threads(threads: int) -> None:
    """Hold this process to so many cores, and tell the peers' thread pools before they start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _prepared(peer: str, case: cases.Case, inputs: cases.Inputs) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """The call, and what turns its result into named arrays."""
    if peer in ALIGNERS:
        items = list(zip(cases.log_probs(case), inputs.targets))  # noqa: B905 - Python 3.9
        align, to_path = ALIGNERS[peer][0](items)
        return align, lambda results: {"paths": np.stack([np.asarray(to_path(result)) for result in results])}
    if case.batch_first:
        inputs = inputs._replace(logits=inputs.logits.swapaxes(0, 1).copy())
    loss, to_numpy = LOSSES[peer][0](inputs)
    return loss, lambda result: dict(zip(("losses", "gradient"), to_numpy(*result)))  # noqa: B905


def serve(peer: str, threads: int, case: dict[str, Any]) -> Generator[Any, dict[str, Any], None]:
    """Answer requests about one case.

    The first answer says which inputs were made, and the peer's version; the call has then been made once. A request
    without a message makes another call and answers its seconds; {"save": path} writes what the last call returned.
    """
    limit_threads(threads)
    shape = cases.Case(**case)
    inputs = cases.make(shape)
    run, to_arrays = _prepared(peer, shape, inputs)
    result = run()
    module = PEERS[peer][1]
    version = getattr(sys.modules.get(module), "__version__", None) or importlib.metadata.version(module)
    message = yield {"checksum": cases.checksum(inputs), "version": f"{module} {version}"}
    while True:
        if message:
            np.savez(message["save"], **to_arrays(result))
            message = yield None
        else:
            result, seconds = timing.awake(timing.Call(run))
            message = yield seconds
