"""Pruned walks of long targets: the path and its score are the reference's, to the bit, ties included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ctckit
from ctckit.lattice import gate
from tests.conftest import SIMD_LEVELS
from tests.tools.core_memory import fill_core_memory
from tests.tools.recordings import CLASSES, RECORDINGS, recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
IF_IT_PAYS, ALWAYS = 1, 2  # `cpu._PRUNING`
NAMES = [*RECORDINGS, "whole numbers", "not normalised", "wrong at the end"]


def log_probs(name: str, frames: int, labels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Emissions (T, C) in float64 and a target (S,), by the name of a recording or of a change to one."""
    x, y = recording(name if name in RECORDINGS else "margin 8", frames, labels, seed=seed)
    if name == "whole numbers":  # sums are exact, and many paths tie
        return (x.double() / 2).round(), y
    x = x.double().log_softmax(1)
    if name == "not normalised":  # each frame has its own offset, of either sign
        x += 200 * torch.randn(x.shape[0], 1, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    if name == "wrong at the end":
        y[-labels // 10 :] = y[-labels // 10 :].flip(0)
    return x, y


@pytest.fixture(params=SIMD_LEVELS)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param not in pytest.importorskip("ctckit._core").simd_levels():
        pytest.skip(f"{request.param} cannot run here")
    monkeypatch.setenv("CTCKIT_SIMD", request.param)
    with ctckit.backends.use("cpu"):
        yield
    fill_core_memory(-1)


def assert_reference(x: Tensor, y: Tensor, right: ctckit.reference.BestPath | None = None) -> None:
    """Compare every result for an item; first, memory is filled with NaN."""
    emissions, lattice, _ = gate(x[:, None], y[None], None, None, 0)
    fill_core_memory(0xFF)
    found = ctckit.backends.backend_for(torch.device("cpu")).best_path(emissions, lattice)
    for field, a, b in zip(found._fields, found, right or ctckit.reference.best_path(emissions, lattice), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=field)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("name", NAMES)
def test_long_targets(name: str) -> None:
    """So long that pruning is tried without being asked for."""
    assert_reference(*log_probs(name, 6000, 1620))


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_all_types(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctckit.backends.cpu._PRUNING", ALWAYS)
    x, y = log_probs(name, 700, 120, seed=1)
    assert_reference(x.to(dtype), y)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("checkpoint_bytes", [0, 1 << 16, 1 << 19])
@pytest.mark.parametrize("name", ["margin 8", "two readings far apart", "all equal"])
def test_any_checkpoints(name: str, checkpoint_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a checkpoint every 32 frames, every second one is given up, several times."""
    monkeypatch.setattr("ctckit.backends.cpu._PRUNING", ALWAYS)
    monkeypatch.setattr("ctckit.backends.cpu._CHECKPOINT_BYTES", checkpoint_bytes)
    assert_reference(*log_probs(name, 2500, 360))


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("labels", [48, 49, 63, 64])
def test_what_was_dropped_is_gone(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The band closes and opens again and again; at the end of a long silence, the last label has been dropped.

    Each frame costs a nat more, so that a value that was not cleared is soon too good.
    """
    monkeypatch.setattr("ctckit.backends.cpu._PRUNING", ALWAYS)
    x, y = log_probs("margin 14", 1200, labels)
    unsure = torch.arange(1200) % 300 < 200
    x[unsure] = log_probs("noise", 1200, labels)[0][unsure]
    assert_reference(x - 1, y)
    silence = torch.full((300, CLASSES), -14.0, dtype=x.dtype)
    silence[:, 0] = 0
    assert_reference(torch.cat([x, silence]) - 1, y)


@pytest.mark.usefixtures("core")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    frames=st.integers(2, 260),
    share=st.floats(0, 1),
    levels=st.sampled_from([0, 1, 4]),
    seed=st.integers(0, 1 << 30),
)
def test_any_size(name: str, frames: int, share: float, levels: int, seed: int) -> None:
    """`levels` a nat: rounded values, so that paths tie."""
    x, y = log_probs(name, frames, max(round(share * frames), 1), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ctckit.backends.cpu._PRUNING", ALWAYS)
        assert_reference((x * levels).round() / levels if levels else x, y)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("pruning", [IF_IT_PAYS, ALWAYS])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("frame", [0, 2999, 5999])
def test_what_is_no_number_is_found_outside_of_the_band(
    frame: int, value: float, pruning: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a class that no position of the band names, but the target does; a class that it does not name is ignored."""
    monkeypatch.setattr("ctckit.backends.cpu._PRUNING", pruning)
    x, y = log_probs("margin 14", 6000, 1500)
    y[y == 1] = 2  # in all of the target but its end and its beginning
    x = x.float()
    x[frame, 1] = value
    path, scores = ctckit.forced_align(x, y)
    assert not scores.isnan().any()
    y[0 if frame > 3000 else -1] = 1
    path, scores = ctckit.forced_align(x, y)
    assert scores.isnan().all()
    assert (path == 0).all()


@pytest.mark.usefixtures("core")
def test_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last frame no class is possible, or no path is at its end."""
    monkeypatch.setattr("ctckit.backends.cpu._PRUNING", ALWAYS)
    x, y = log_probs("margin 8", 900, 150)
    x[-1] = -torch.inf
    assert_reference(x, y)
    x[-1, (y[-1] + 1) % CLASSES] = 0
    assert_reference(x, y)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("threads", [1, 2])
def test_items_of_a_batch_do_not_change_each_other(threads: int) -> None:
    names = ["margin 8", "noise", "wrong in the middle", "whole numbers"]
    items = [log_probs(name, 5000, 1500, seed=3) for name in names]
    x, y = torch.stack([x for x, _ in items]).float(), torch.stack([y for _, y in items])
    lengths, labels = torch.tensor([5000, 4900, 4800, 5000]), torch.tensor([1500, 1500, 1400, 1440])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        paths, scores = ctckit.forced_align(x, y, lengths, labels)
    finally:
        torch.set_num_threads(before)
    for n, (t, s) in enumerate(zip(lengths.tolist(), labels.tolist(), strict=True)):
        path, score = ctckit.forced_align(x[n, :t], y[n, :s])
        assert torch.equal(paths[n, :t], path)
        assert torch.equal(scores[n, :t], score)
