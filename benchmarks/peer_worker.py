"""Runs one peer in its own process, answering one JSON line for each line of requests.

    python -m benchmarks.peer_worker optax 1        (peer, threads)

It imports only NumPy and the peer, and runs on Python 3.9, because some peers need an
older Python or another torch than ours. Requests, and what they answer:

    {"load": case}   -> {"checksum": ..., "version": ...}   makes the inputs, compiles, warms up
    {"run": true}    -> {"seconds": ...}                    one call, from logits to gradient
    {"save": path}   -> {}                                  writes the losses and the gradient

Every peer gets its inputs in the layout it likes best, prepared outside the timed call.
"""

# ruff: noqa: PLC0415 - only the peer that is measured is imported
# mypy: disable-error-code="import-not-found, import-untyped, attr-defined, no-untyped-call"

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import apart, cases, timing

# A peer's call gives the losses of the items and the gradient of their sum, in the peer's
# own array type; its second function turns those into NumPy, the gradient as (T, N, C).
Call = Callable[[], tuple[Any, Any]]
ToNumpy = Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]


def optax(inputs: cases.Inputs) -> tuple[Call, ToNumpy]:
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


def tensorflow(inputs: cases.Inputs) -> tuple[Call, ToNumpy]:
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


def tensorflow_dense(inputs: cases.Inputs) -> tuple[Call, ToNumpy]:
    """tf.nn.ctc_loss with dense labels, which TensorFlow writes as a graph of small operations."""
    import tensorflow as tf

    logits = tf.constant(inputs.logits)
    labels = tf.constant(inputs.targets, tf.int32)
    frames = tf.constant(inputs.input_lengths, tf.int32)
    lengths = tf.constant(inputs.target_lengths, tf.int32)

    def loss_and_gradient(logits: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = tf.nn.ctc_loss(labels, logits, lengths, frames, blank_index=0)
        return losses, tape.gradient(losses, logits)

    compiled = tf.function(loss_and_gradient)
    return lambda: compiled(logits), lambda losses, gradient: (losses.numpy(), gradient.numpy())


def warpctc(inputs: cases.Inputs) -> tuple[Call, ToNumpy]:
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


def k2(inputs: cases.Inputs, beam: float = 10) -> tuple[Call, ToNumpy]:
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


def k2_exact(inputs: cases.Inputs) -> tuple[Call, ToNumpy]:
    """The same without leaving any path out."""
    return k2(inputs, beam=1e6)


# name: (how to prepare it, the module that it needs)
PEERS = {
    "optax": (optax, "optax"),
    "tensorflow": (tensorflow, "tensorflow"),
    "tensorflow-dense": (tensorflow_dense, "tensorflow"),
    "warp-ctc": (warpctc, "paddle"),
    "k2": (k2, "k2"),
    "k2-exact": (k2_exact, "k2"),
}


def version(module: str) -> str:
    """A module's version, by its own word or by the distribution of the same name."""
    found = getattr(sys.modules[module], "__version__", None)
    return str(found or importlib.metadata.version(module))


def limit_threads(threads: int) -> None:
    """Hold this process to so many cores, and tell the peers' thread pools before they start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def serve(peer: str, answer: Any) -> None:
    """Answer requests until standard input closes."""
    prepare, module = PEERS[peer]
    call: Call = lambda: (None, None)  # noqa: E731 - replaced by the first "load"
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {}
        try:
            if "load" in request:
                inputs = cases.make(cases.Case(**request["load"]))
                reply["checksum"] = cases.checksum(inputs)
                if request["load"]["batch_first"]:
                    inputs = inputs._replace(logits=inputs.logits.swapaxes(0, 1).copy())
                call, to_numpy = prepare(inputs)
                result = call()
                reply["version"] = f"{module} {version(module)}"
            elif "run" in request:
                result, reply["seconds"] = timing.awake(call)
            elif "save" in request:
                losses, gradient = to_numpy(*result)
                np.savez(request["save"], losses=losses, gradient=gradient)
        except Exception as error:  # noqa: BLE001 - one shape that a peer cannot do must not end the others
            reply["error"] = apart.describe(error)
        print(json.dumps(reply), file=answer, flush=True)


if __name__ == "__main__":
    # Peers print warnings on both streams: keep standard output for the answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_threads(int(sys.argv[2]))
    serve(sys.argv[1], answers)
