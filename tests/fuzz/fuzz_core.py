"""Runs the core on random problems, valid and invalid, and compares it with the reference in float64.

To run it by hand: ``python -m tests.fuzz.fuzz_core --seconds 600 --first 1000``. It prints the number of each problem
that fails; ``--only NUMBER`` runs that one again. ``tests/fuzz/test_fuzz.py`` runs the first few hundred.

The number is the seed of a problem. Problems are hard rather than typical:

- lengths close to the sizes of blocks and vectors;
- emissions at a few levels far apart, each held for some frames, and classes masked for a while, so that states become
  impossible and possible again;
- vocabularies of up to 3,000 classes;
- items long enough for several segments;
- tensors with odd strides inside memory full of NaN.

Scratch memory holds zeros before one call, and NaN before the next.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ctckit
from ctckit import WILDCARD, Alternatives, backends
from ctckit.lattice import gate
from tests.fuzz import fuzz_decoding
from tests.tools.cases import Arguments, Case
from tests.tools.exact_answers import exact, run_on_dirty_memory, same_bits

DTYPES = (torch.float32, torch.float32, torch.float64, torch.float64, torch.float16, torch.bfloat16)

# Levels of the emissions of a problem, in nats. Neighbouring states drift apart by a little, by more than the range of
# a block of frames, by more than that of one frame, or by more than that of a double.
LEVELS = (
    (0, -1, -60),
    (0, -1, -2, -300),
    (0, -3, -680),
    (0, -1, -695),
    (0, -1, -100, -800),
    (0, -1, -500, -3000),
    (0, -20, -30),
    (0, -90),
)

# Two limits for the error of a probability (an occupancy or a gradient). The first is for emissions of order 1:
# rounding of the result to the dtype, or float32 arithmetic. The second is per unit of the largest emission: rounding
# of the difference of two emissions.
TOLERANCES = {
    torch.float64: (1e-11, 1e-13),
    torch.float32: (2e-6, 5e-7),
    torch.float16: (6e-4, 5e-7),
    torch.bfloat16: (5e-3, 5e-7),
}


@dataclass(frozen=True)
class Problem:
    number: int
    case: Case
    x: Tensor  # (T, N, C), in its dtype, strided
    logits: bool
    form: str  # form of the targets: "padded" or "concatenated"

    def __str__(self) -> str:
        case, x = self.case, self.x
        targets = [len(target) for target in case.targets]
        return (
            f"problem {self.number}: T={case.frames} N={case.items} C={case.classes} S={targets} frames="
            f"{case.input_lengths} blank={case.blank} {x.dtype} strides={x.stride()} logits={self.logits} {self.form}"
        )


def draw(number: int) -> Problem:
    """Make the problem of a number."""
    r = random.Random(number)  # noqa: S311  # no secret
    long = r.random() < 0.1  # the longest items need several segments
    frames = r.choice((330, 400, 449)) if long else r.choice((0, 1, 2, 5, 15, 16, 17, 31, 33, 47, 64, 70))
    items = 1 if long else r.choice((1, 1, 2, 3, 5))
    classes = r.choice((2, 3, 6, 40, 1100)) if long else r.choice((1, 2, 3, 4, 6, 9, 17, 140, 300, 1024, 1025, 3000))
    blank = r.randrange(classes)
    labels = [label for label in range(classes) if label != blank]
    labels = r.sample(labels, min(len(labels), r.choice((1, 2, 5, 20))))
    longest = r.choice((160, 190)) if long else r.choice((2, 5, 12, 40))

    def length() -> int:
        return r.choice((frames, frames, r.randint(0, frames)))

    lengths = (frames,) if long else tuple(length() for _ in range(items))
    fewest = longest - 9 if long else 0
    targets = tuple(
        tuple(r.choice(labels) for _ in range(r.randint(fewest, min(longest, n + 1)) if labels else 0)) for n in lengths
    )
    case = Case(f"number {number}", frames, classes, targets, lengths, blank)
    x = _emissions(r, case).to(r.choice(DTYPES))
    if r.random() < 0.1 and x.numel():
        flat = x.view(-1)
        flat[r.randrange(len(flat))] = torch.nan
    return Problem(number, case, _placed(r, x), r.random() < 0.5, r.choice(("padded", "concatenated")))


def _emissions(r: random.Random, case: Case) -> Tensor:
    g = torch.Generator().manual_seed(r.getrandbits(32))
    shape = case.frames, case.items, case.classes
    noise = torch.randn(shape, generator=g, dtype=torch.float64)
    if r.random() < 0.25:
        x = noise * r.choice((1e-40, 0.1, 1, 10, 100, 1000))
    else:
        levels = torch.tensor(r.choice(LEVELS), dtype=torch.float64)
        x = levels[torch.randint(0, len(levels), shape, generator=g)] + noise * r.choice((0, 0.1, 1))
        if r.random() < 0.5:
            x = x[torch.arange(case.frames) // r.choice((2, 5, 16, 30))]
    x = x + r.choice((0, 0, 1, -1e3))
    share = r.choice((0, 0, 0.02, 0.1, 0.3))
    x = x.masked_fill(torch.rand(shape, generator=g) < share, -torch.inf)
    for _ in range(r.choice((0, 0, 1, 3))):  # frames or blocks in which only one class is possible
        if case.frames:
            first, c = r.randrange(case.frames), r.randrange(case.classes)
            kept = x[:, :, c].clone()
            x[first : first + r.choice((1, 1, 2, 16)), :, :] = -torch.inf
            x[:, :, c] = kept
    return x


def _placed(r: random.Random, x: Tensor) -> Tensor:
    """Copy the emissions into memory full of NaN, with a random order of dimensions and gaps."""
    order = r.sample(range(3), 3)
    gaps = [r.choice((1, 1, 2)) for _ in range(3)]
    sizes = [x.shape[d] * gap + r.choice((0, 1, 3)) for d, gap in zip(order, gaps, strict=True)]
    room = torch.full(sizes, torch.nan, dtype=x.dtype)
    view = room[tuple(slice(0, x.shape[d] * gap, gap) for d, gap in zip(order, gaps, strict=True))]
    view = view.permute(*(order.index(d) for d in range(3)))
    return view.copy_(x)


def check(problem: Problem) -> None:
    """Compare everything that the library computes for the problem; raise an AssertionError if something is wrong."""
    case, logits = problem.case, problem.logits
    arguments = case.padded(problem.x)
    if problem.form == "concatenated":
        flat = torch.tensor([label for target in case.targets for label in target], dtype=torch.int64)
        arguments = arguments._replace(targets=flat)
    expected = exact(arguments, logits=logits)
    actual = run_on_dirty_memory(arguments, logits=logits)

    known = expected.losses.isfinite()
    assert torch.equal(actual.losses.isnan(), expected.losses.isnan()), "NaN losses"
    assert torch.equal(actual.losses.isinf(), expected.losses.isinf()), "infinite losses"
    finite = problem.x[problem.x.isfinite()]
    spread = float(finite.max() - finite.min()) if len(finite) else 0.0
    base, per_unit = TOLERANCES[problem.x.dtype]
    # The reference adds logarithms as large as the loss; their rounding is an error of the probability.
    tolerance = base + per_unit * spread + 2.0**-52 * float(expected.losses[known].abs().amax() if known.any() else 0)
    relative = 1e-12 if problem.x.dtype == torch.float64 else 2e-6
    off = (actual.losses.double() - expected.losses)[known].abs()
    assert (off <= relative * expected.losses[known].abs().clamp(min=1 + spread)).all(), f"losses: {off.max():.2g} off"

    tables = {
        "gradient": (actual.gradient, expected.gradient),
        "posteriors": (ctckit.posteriors(*arguments, logits=logits), expected.by_class),
        "states": (ctckit.posteriors(*arguments, logits=logits, per_state=True), expected.by_state),
    }
    for name, (table, right) in tables.items():
        width = min(table.shape[2], right.shape[2])  # the core may use a tighter bound than the shapes
        off = (table.double()[:, known, :width] - right[:, known, :width]).abs()
        assert not off.isnan().any(), f"{name} has NaN"
        assert not off.numel() or off.max() <= tolerance, f"{name} is off by {off.max():.2g}, allowed {tolerance:.2g}"
        assert not table[:, actual.losses.isinf()].count_nonzero(), f"{name} of an infeasible item is not 0"
        beyond = torch.arange(case.frames)[:, None] >= arguments.input_lengths
        assert not table[beyond].count_nonzero(), f"{name} is not 0 beyond the length"
    check_paths(arguments, tables["states"][0], logits=logits)
    if case.items and case.classes <= 300 and case.frames <= 70:
        check_graph(problem)
    if case.items:
        check_decoding(problem)


def check_paths(arguments: Arguments, by_state: Tensor, *, logits: bool) -> None:
    """The best path equals the reference's to the bit; its occupancy is that of its states in the table of all."""
    emissions, lattice, _ = gate(*arguments)
    core = backends.backend_for(emissions.device)
    path = core.best_path(emissions, lattice)
    right = ctckit.reference.best_path(emissions, lattice)
    for field, a, b in zip(right._fields, path, right, strict=True):
        assert same_bits(a, b), f"best path: {field}"
    own = core.path_occupancy(emissions, lattice, path.states, logits=logits)
    table = torch.nn.functional.pad(by_state, (0, 1))  # state -1: none
    of_states = table.gather(2, path.states.T[:, :, None].where(path.states.T[:, :, None] >= 0, table.shape[2] - 1))
    unknown = own.isnan()
    assert torch.equal(unknown, (of_states[:, :, 0].T.isnan() | unknown) & by_state.isnan().any(2).T), "NaN"
    assert torch.equal(own[~unknown], of_states[:, :, 0].T[~unknown]), "occupancy of a path"


def check_graph(problem: Problem) -> None:
    """Compare paths through a pattern made from the first target with the reference."""
    r = random.Random(problem.number)  # noqa: S311
    case = problem.case
    labels = case.targets[0][:12]
    pattern: list[Any] = list(labels)
    if labels and r.random() < 0.7:
        where = r.randrange(len(labels))
        readings = [labels[: where + 1][-3:], labels[where:][:2], (), (labels[-1], WILDCARD)]
        pattern[where] = r.choice((WILDCARD, Alternatives(*r.sample(readings, r.randint(1, 4)))))
    x = problem.x[: case.input_lengths[0], 0]
    if not problem.x.isfinite().any() or (x > 0).any():
        x = x.log_softmax(1)
    k = r.choice((1, 1, 2, 5))

    options: dict[str, Any] = {"blank": case.blank, "wildcard_score": -2.0}
    options |= {"free_start": r.random() < 0.3, "free_end": r.random() < 0.3}

    def best() -> list[ctckit.Path]:
        return ctckit.best_paths(x, pattern, k, infeasible="blank", **options)

    def posteriors() -> ctckit.PathPosteriors:
        return ctckit.path_posteriors(x, pattern, **options)

    paths, (occupancy, log_likelihood, _) = best(), posteriors()
    with backends.use("reference"):
        right, (by_state, likelihood, _) = best(), posteriors()
    totals = torch.tensor([[path.total for path in found] for found in (paths, right)])
    assert same_bits(*totals), "totals of paths"
    assert [path.states.tolist() for path in paths] == [path.states.tolist() for path in right], "paths of a pattern"
    one, other = torch.tensor([log_likelihood, likelihood], dtype=torch.float64)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, equal_nan=True, msg="likelihood of a pattern")
    # The reference adds logarithms as large as that of the likelihood.
    off = 1e-11 + 2.0**-50 * abs(likelihood) if math.isfinite(likelihood) else 0.0
    if occupancy.dtype != torch.float64:
        off += torch.finfo(occupancy.dtype).eps
    torch.testing.assert_close(occupancy, by_state, rtol=0, atol=off, equal_nan=True, msg="occupancy of a pattern")


def check_decoding(problem: Problem) -> None:
    """Decode the batch; the loss's rules for NaN are not those of decoders, which read every class."""
    r, case = random.Random(problem.number), problem.case  # noqa: S311
    frames = case.input_lengths[0]
    question = fuzz_decoding.draw(r, frames, case.classes, case.blank, logits=problem.logits)
    fuzz_decoding.check(problem.x, tuple(case.input_lengths), question)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--first", type=int, default=0, help="the number to begin with")
    parser.add_argument("--only", type=int, help="run this number alone, and stop where it fails")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only is not None:
        problem = draw(options.only)
        print(problem)  # noqa: T201
        return check(problem)
    end, number, wrong = time.monotonic() + options.seconds, options.first, 0
    while time.monotonic() < end:
        problem = draw(number)
        try:
            check(problem)
        except AssertionError as error:
            wrong += 1
            print(f"{problem}\n    {error}", flush=True)  # noqa: T201
        number += 1
    print(f"{number - options.first} problems, {wrong} wrong")  # noqa: T201
    return None


if __name__ == "__main__":
    main()
