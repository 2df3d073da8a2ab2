"""The GPU kernels over rows of classes: every width and layout of rows, both forms of occupancy, all statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from ctckit.backends import LossOptions
from tests.tools import cases
from tests.tools.triton_setup import DEVICE, MARKS, TOLERANCE, check, expected, gpu, problem, run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = MARKS
tiles = gpu.tiles

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
WIDTHS = (1, 2, 15, 16, 17, 1023, 1024, 1025, 5003)


def of_width(classes: int, *, frames: int = 5) -> cases.Case:
    """Two items: a label that is repeated, the last class, and fewer frames; with one class, no labels."""
    labels = (1, classes - 1, classes - 1) if classes > 2 else (1,) * (classes - 1)
    return cases.Case(f"{classes} classes", frames, classes, (labels, labels[:1]), (frames, frames - 1))


@pytest.mark.parametrize("classes", WIDTHS)
@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_every_width(classes: int, dtype: torch.dtype) -> None:
    case = of_width(classes)
    if dtype == F32 or classes in (1, 17, 1025):
        check(case, case.logits(dtype, scale=2), logits=True)


@pytest.mark.parametrize("dtype", [F16, F64], ids=str)
def test_other_types_of_more_than_one_tile(dtype: torch.dtype) -> None:
    case = of_width(2500)
    check(case, case.logits(dtype), logits=True)
    check(case, case.logits(dtype).log_softmax(2), logits=False)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "items first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "classes first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "every other class": lambda x: torch.stack((x, x + 1), 3).flatten(2)[:, :, ::2],
    "padded to an odd number": lambda x: torch.nn.functional.pad(x, (0, 3))[:, :, : x.shape[2]],
    "padded to 16 bytes": lambda x: torch.nn.functional.pad(x, (0, 8))[:, :, : x.shape[2]],
    "one element later": lambda x: torch.cat((x.new_zeros(1), x.flatten()))[1:].view_as(x),
}


@pytest.mark.parametrize("classes", [32, 600, 601])
@pytest.mark.parametrize("dtype", [F32, F16], ids=str)
def test_layouts_give_the_same_bits(classes: int, dtype: torch.dtype) -> None:
    """Of the logits, and of the gradient: not in place, and in place."""
    case = of_width(classes, frames=4)
    values = case.logits(dtype)
    x, lattice = problem(case.padded(values))
    options = LossOptions.of(dtype, logits=True, reduction="none", zero_infinity=False)
    loss, gradient = run(x, lattice)
    error = torch.linalg.vector_norm(gradient.double() - expected(x, lattice, logits=True)[1])
    assert error <= TOLERANCE[dtype] * torch.linalg.vector_norm(gradient.double())
    for name, layout in LAYOUTS.items():
        y = layout(values.to(DEVICE))
        assert torch.equal(y, x), name
        out = layout(torch.full_like(x, 77.0))
        assert torch.equal(gpu.loss(y, lattice, options, out).cpu(), loss), name
        assert torch.equal(out.cpu(), gradient), name
        assert torch.equal(gpu.loss(y, lattice, options, y).cpu(), loss), name
        assert torch.equal(y.cpu(), gradient), name


def test_alignment() -> None:
    """The largest power of two, up to 16 bytes, that divides the classes and the strides of frames and items."""
    x = torch.empty(3, 2, 24)
    assert tiles.alignment(x) == 4
    assert tiles.alignment(x.double(), x.double()) == 2
    assert tiles.alignment(x.half()) == 8
    assert tiles.alignment(x[:, :, :22]) == 2
    assert tiles.alignment(x[:, :, :23]) == 1
    assert tiles.alignment(torch.empty(3, 2, 25)[:, :, :24]) == 1
    assert tiles.alignment(x, torch.empty(3, 2, 26)[:, :, :24]) == 2
    assert tiles.alignment(x[:, :, ::2]) == 1
    assert tiles.alignment(x.transpose(1, 2)) == 1
    assert tiles.strides(x[:, :, :22], 2) == (24, 12, 1)


def sums(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `sum_rows` says of each row: the largest, its class, the sum of the others' exponentials."""
    import triton.language as tl

    from ctckit.backends.triton import rows as row_kernels
    from ctckit.backends.triton import sums as sum_kernels

    frames, classes = rows.shape
    real = F64 if rows.dtype == F64 else F32
    x = rows[:, None].to(DEVICE)
    items = torch.tensor([[frames, 0, 0, 0]], device=DEVICE)
    statuses = torch.full((1,), row_kernels.FINITE.value, dtype=torch.int32, device=DEVICE)
    fields = torch.zeros(frames, row_kernels.FRAME_FIELDS.value, dtype=real, device=DEVICE)
    winners = torch.zeros(frames, dtype=torch.int32, device=DEVICE)
    tile, align = tiles.of_sums(classes, x.element_size(), 32), tiles.alignment(x)
    sum_kernels.sum_rows[(-(-frames // tile.rows),)](
        x,
        *tiles.strides(x, align),
        statuses,
        items,
        fields,
        winners,
        1,
        frames,
        classes // align,
        0,
        REAL=tl.float64 if rows.dtype == F64 else tl.float32,
        ALIGN=align,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        TILES=tile.tiles,
        num_warps=tile.warps,
    )
    of = fields.cpu().double()
    return of[:, row_kernels.TOP.value], winners.cpu().long(), of[:, row_kernels.REST.value]


def rest_of(rows: Tensor) -> Tensor:
    """The sum of the exponentials of all classes but the largest, relative to it, in float64."""
    top, winner = rows.double().max(1, keepdim=True)
    return (rows.double() - top.nan_to_num(neginf=0.0)).exp().scatter(1, winner, 0.0).sum(1)


def hard_rows(classes: int, dtype: torch.dtype) -> Tensor:
    """Rows without NaN and +inf: of every scale, sure of a class, with ties and with impossible classes."""
    generator = torch.Generator().manual_seed(classes)
    x = torch.randn(11, classes, generator=generator, dtype=F64)
    x[1] *= 30
    x[2, classes // 3] = 14
    x[3, -1] = 60
    x[4] = 0.1 * x[4] - 1000
    x[4, 0] = -985
    x[5] = 0
    x[6, [0, -1]] = 5
    x[7, ::2] = -torch.inf
    x[8] = -torch.inf
    x[9] = -torch.inf
    x[9, classes // 2] = 3
    x[10, 0], x[10, -1] = (60_000, -60_000) if dtype == F16 else (1e30, -1e30)
    return x.to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("classes", [2, 17, 300, 1025, 20_003])
def test_sums_of_hard_rows(dtype: torch.dtype, classes: int) -> None:
    """A confident model's small sum keeps its digits."""
    rows = hard_rows(classes, dtype)
    top, winner, rest = sums(rows)
    x = rows.double()
    right_top = x.amax(1)
    assert torch.equal(top, right_top.nan_to_num(neginf=0.0))
    assert torch.equal(winner, (x == right_top[:, None]).int().argmax(1))
    assert torch.equal(x.gather(1, winner[:, None]), right_top[:, None])
    right = rest_of(rows)
    tolerance = 1e-14 if dtype == F64 else 1e-6
    smallest = 1e-300 if dtype == F64 else 1e-37
    error = (rest - right).abs() / right.clamp(min=smallest)
    assert error.max() <= tolerance, error


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_second_class_in_the_lane_of_the_largest(dtype: torch.dtype) -> None:
    """Its exponential is nearly the whole sum, and is relative to a largest that is far above."""
    rows = torch.full((40, 1030), -900.0, dtype=dtype)
    rows[:, 3] = torch.linspace(14, 63, 40, dtype=F64).to(dtype)
    rows[:, 3 + tiles.of_sums(1030, rows.element_size(), 32).columns] = torch.linspace(-0.3, 0.3, 40, dtype=F64).to(
        dtype
    )
    _, _, rest = sums(rows)
    right = rest_of(rows)
    assert ((rest - right).abs() / right).max() <= (1e-14 if dtype == F64 else 5e-7)


@pytest.mark.parametrize("classes", [17, 1025])
def test_sums_are_nan_for_nan_and_for_plus_infinity(classes: int) -> None:
    for value in (torch.nan, torch.inf):
        for at in (0, classes // 2, classes - 1):
            rows = torch.randn(4, classes)
            rows[1, at] = value
            rows[2] = -torch.inf
            rows[2, at] = value
            rows[3] = value
            assert sums(rows)[2].isnan().tolist() == [False, True, True, True]


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "log_probs"])
def test_the_form_of_the_occupancy_changes_no_bit(logits: bool) -> None:
    """Padding makes the positions more than the classes, so that occupancy is kept per class."""
    case = cases.Case("both forms", 9, 12, ((1, 2, 2, 11), (3,), ()), (9, 7, 4))
    x = case.logits(F32, scale=3)
    x[:, 0, 2] += 9  # the largest class is one of the target's
    arguments = case.padded(x if logits else x.log_softmax(2))
    wide = arguments._replace(targets=torch.nn.functional.pad(arguments.targets, (0, 20)))
    found = []
    for given in (arguments, wide):
        values, lattice = problem(given)
        assert (lattice.labels.numel() + case.items >= case.items * case.classes) == (given is wide)
        tables = gpu.posteriors(values, lattice, logits=logits, per_state=False)
        found.append([*run(values, lattice, logits=logits, reduction="mean"), tables.cpu()])
        right = expected(values, lattice, logits=logits, reduction="mean")[1]
        error = torch.linalg.vector_norm(found[-1][1].double() - right)
        assert error <= 1e-6 * torch.linalg.vector_norm(right)
    for narrow_one, wide_one in zip(*found, strict=True):
        assert torch.equal(narrow_one, wide_one)


@pytest.mark.parametrize("width", [5, 40], ids=["by label", "by class"])
@pytest.mark.parametrize("in_place", [False, True])
def test_every_status_in_one_batch(width: int, in_place: bool) -> None:
    """Finite, without a path, NaN, +inf, a bad label; each with frames beyond its length."""
    case = cases.Case("statuses", 6, 19, ((1, 18, 18), (2, 2, 2, 2), (4,), (5,), (6,), (7, 8)), (5, 5, 5, 5, 5, 4))
    x = case.logits(F32)
    right = expected(*problem(case.padded(x)), logits=True)[1]
    x[1, 2, 9] = torch.nan
    x[1, 3, 9] = torch.inf
    emissions, targets, *rest = case.padded(x)
    targets = torch.nn.functional.pad(targets, (0, width - targets.shape[1]))
    targets[4, 0] = 19
    values, lattice = problem(cases.Arguments(emissions, targets, *rest))
    out = values.clone() if in_place else torch.full_like(values, 77.0)
    options = LossOptions.of(F32, logits=True, reduction="none", zero_infinity=False)
    losses = gpu.loss(out if in_place else values, lattice, options, out).cpu()
    assert losses.isinf().tolist() == [False, True, False, False, False, False]
    assert losses.isnan().tolist() == [False, False, True, True, True, False]
    gradient = out.cpu()
    assert gradient[:5, 2:4].isnan().all()
    assert (gradient[5:, 2:4] == 0).all()
    assert (gradient[:, [1, 4]] == 0).all()
    torch.testing.assert_close(gradient[:, [0, 5]].double(), right[:, [0, 5]], rtol=0, atol=1e-6)
    assert (gradient[5:, 0] == 0).all()
    assert (gradient[4:, 5] == 0).all()


def test_targets_of_more_labels_than_a_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.Case("several steps", 11, 40, ((1, 3, 3, 39, 1, 7, 8), (2,), (5, 6, 7)), (11, 5, 9))
    x, lattice = problem(case.padded(case.logits(F32)))
    right = run(x, lattice)
    monkeypatch.setattr(tiles, "labels_per_step", lambda *_: 2)
    actual = run(x, lattice)
    assert torch.equal(actual[1], right[1])
    check(case, case.logits(F32), logits=True)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(5, 3, 7), (70, 2, 31), (3, 300, 4), (2, 2, 5003), (2, 1, 4096)], ids=str)
def test_scale(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """By one factor and by one for each item, most of them 1; more tiles than programs."""
    x = torch.randn(shape, device=DEVICE).to(dtype)
    each = torch.ones(shape[1], 1, device=DEVICE)
    each[-1] = -2.5
    for scale in (each, each[:1], torch.ones((), device=DEVICE), torch.tensor(0.3, device=DEVICE)):
        right = (x.double() * scale.to(torch.float32).double()).to(dtype)
        actual = gpu.scale_(x.clone(), scale.expand(shape[1], 1) if scale.ndim else scale)
        torch.testing.assert_close(actual, right, rtol=torch.finfo(dtype).eps, atol=0)
        wide = torch.nn.functional.pad(x, (1, 4), value=9.0)
        gpu.scale_(wide[:, :, 1:-4], scale.expand(shape[1], 1) if scale.ndim else scale)
        assert torch.equal(wide[:, :, 1:-4], actual)
        assert (wide[:, :, 0] == 9).all()
        assert (wide[:, :, -4:] == 9).all()
