"""Numerically hard inputs, by name, and their exact answers.

The core computes blocks of 16 frames with one power of two per state. If a block leaves the range of a double, the core
computes it again frame by frame. Many of these inputs need that: in single blocks, in one direction only, because of
emissions that no double holds, or because of states that are much less probable than their neighbours, or that are
emptied and filled again.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tests.tools.cases import Arguments, Case, masked, peaky, random_case, trained
from tests.tools.exact_answers import Answer, exact

if TYPE_CHECKING:
    from collections.abc import Callable

HARD: dict[str, Callable[[], Hard]] = {}


class Hard(NamedTuple):
    case: Case
    x: Tensor  # (T, N, C) float64
    logits: bool = True
    limit: float = 5e-7  # of the gradient's error in float32; the design requires 5e-7 at best, 2e-6 at worst


@cache
def judged(name: str, dtype: torch.dtype, *, logits: bool) -> tuple[Arguments, Answer]:
    """The arguments, with emissions in a dtype, as logits or log-probabilities, and the right answer."""
    problem = HARD[name]()
    x = (
        problem.x.log_softmax(2).nan_to_num(-torch.inf, neginf=-torch.inf)
        if problem.logits and not logits
        else problem.x
    )
    arguments = problem.case.padded(x.to(dtype))
    return arguments, exact(arguments, logits=logits)


def hard(name: str) -> Callable[[Callable[[], Hard]], Callable[[], Hard]]:
    def enter(make: Callable[[], Hard]) -> Callable[[], Hard]:
        HARD[name] = make
        return make

    return enter


def spelled(labels: int, classes: int, *, repeat: int = 1) -> tuple[int, ...]:
    """A target that cycles through the classes, with each label repeated."""
    return tuple(1 + (s // repeat) % (classes - 1) for s in range(labels))


def one(frames: int, classes: int, target: tuple[int, ...]) -> Case:
    return Case("", frames, classes, (target,), (frames,))


# ------------------------------------------------------------------------------------------------- models of all kinds


@hard("random")
def _random() -> Hard:
    case = random_case(300, 4, 32, 60, seed=1)
    return Hard(case, case.logits())


@hard("random log-probabilities")
def _random_log_probs() -> Hard:
    case = random_case(300, 4, 32, 60, seed=1)
    return Hard(case, case.logits().log_softmax(2), logits=False)


@hard("random, large vocabulary")
def _vocabulary() -> Hard:
    case = random_case(100, 2, 3000, 25, seed=2)
    return Hard(case, case.logits())


@hard("logits x 10")
def _peaky_random() -> Hard:
    case = random_case(500, 2, 64, 75, seed=3)
    return Hard(case, case.logits(scale=10))


@hard("logits x 10, large vocabulary")
def _peaky_vocabulary() -> Hard:
    case = random_case(100, 2, 3000, 25, seed=2)
    return Hard(case, case.logits(scale=10))


for margin in (8, 14, 25):

    @hard(f"trained, margin {margin}")
    def _trained(margin: int = margin) -> Hard:
        case = random_case(600, 2, 32, 90, seed=4)
        return Hard(case, trained(case, margin))


for deviation in (30, 100, 1000):

    @hard(f"logits of deviation {deviation}")
    def _wide(deviation: int = deviation) -> Hard:
        case = random_case(150, 4, 20, 40, seed=5)
        return Hard(case, case.logits(scale=deviation))


for margin in (10, 25, 100):

    @hard(f"collapsed onto the blank, margin {margin}")
    def _collapsed(margin: int = margin) -> Hard:
        """As early in training: all labels are improbable in all frames.

        In float32 the difference of two logits has a relative error up to 2^-25, in every frame. No path is so much
        better than the others that the error would not matter.
        """
        case = random_case(200, 3, 20, 60, seed=6)
        x = case.logits()
        x[:, :, 0] += margin
        return Hard(case, x, limit=max(5e-7, 2e-8 * margin))


@hard("labels of 1e-30 each, 300 of them")
def _collapsed_exactly() -> Hard:
    case = one(700, 301, spelled(300, 301))
    return Hard(case, peaky(case, -30 * math.log(10)), logits=False)


for spare in (0, 1, 3):

    @hard(f"labels and {spare} frames to spare")
    def _tight(spare: int = spare) -> Hard:
        frames = 100
        targets = spelled(frames - spare, 30), spelled((frames - spare + 1) // 2, 30, repeat=100)
        case = Case("", frames, 30, targets, (frames, frames))
        return Hard(case, torch.cat((case.logits()[:, :1], case.logits(scale=10)[:, 1:]), dim=1))


@hard("logits of +-1e4")
def _huge() -> Hard:
    case = random_case(150, 4, 10, 30, seed=7)
    return Hard(case, 1e4 * case.logits().sign() + case.logits(seed=1))


@hard("log-probabilities down to -1e9")
def _tiny() -> Hard:
    case = random_case(150, 4, 10, 30, seed=7)
    return Hard(case, torch.where(case.logits() > 1, -1e9, -case.logits(seed=1).square()), logits=False)


@hard("denormal logits")
def _denormal() -> Hard:
    """Denormals, which flush-to-zero would lose; they change no result, and must cause no error."""
    case = random_case(60, 3, 10, 12, seed=8)
    return Hard(case, 1e-41 * case.logits())


@hard("denormal probabilities")
def _denormal_probabilities() -> Hard:
    """All are below the normal range of float32 (e^-88 and less), some below that of float64 (e^-709)."""
    case = random_case(120, 4, 10, 20, seed=9)
    return Hard(case, -85 - 160 * case.logits().square(), logits=False)


@hard("lengths 0, 1, 2")
def _short() -> Hard:
    case = Case("", 40, 5, ((), (1,), (1,), (1, 2), (3,), ()), (1, 1, 2, 2, 40, 0))
    return Hard(case, case.logits(scale=3))


@hard("one class possible in each frame")
def _forced() -> Hard:
    """All other classes at -inf: one path, with the given probability if it is not normalised."""
    case = one(70, 6, spelled(20, 6))
    x = torch.full((70, 1, 6), -torch.inf, dtype=torch.float64)
    path = torch.zeros(70, dtype=torch.int64)
    path[3 + 3 * torch.arange(20)] = torch.tensor(case.targets[0])
    x[torch.arange(70), 0, path] = -torch.rand(70, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Hard(case, x, logits=False)


@hard("two classes possible in each frame")
def _nearly_forced() -> Hard:
    case = one(70, 6, spelled(20, 6))
    forced = _forced().x
    x = forced.clone()
    x[:, :, 0] = case.logits()[:, :, 0]
    return Hard(case, x)


@hard("classes masked at random")
def _masked() -> Hard:
    case = random_case(200, 4, 20, 30, seed=10)
    return Hard(case, masked(case.logits(scale=3), share=0.1))


@hard("masked classes alternate")
def _alternating() -> Hard:
    """Every label is impossible in every other frame: half of all states become 0 at every step."""
    case = random_case(200, 3, 20, 30, seed=11)
    x = case.logits(scale=3)
    odd = (torch.arange(200)[:, None] + torch.arange(20)) % 2 == 1
    odd[:, 0] = False
    return Hard(case, x.masked_fill(odd[:, None], -torch.inf))


# --------------------------------------------------------------------------------------------- blocks for exact steps


for depth in (650, 689, 691, 700, 708, 745, 1000, 5000):

    @hard(f"a frame in which the labels lie {depth} below the blank")
    def _deep(depth: int = depth) -> Hard:
        """The limits: e^-690 of the core's table of emissions, e^-708 of a double, e^-745 of its denormals."""
        case = one(100, 8, spelled(30, 8))
        x = case.logits()
        x[50, 0, 1:] -= depth
        return Hard(case, x)


@hard("a frame in which the blank lies 1000 below")
def _deep_blank() -> Hard:
    case = one(100, 8, spelled(30, 8, repeat=2))
    x = case.logits()
    x[50, 0, 0] -= 1000
    return Hard(case, x)


@hard("a few improbable frames in a row")
def _drops() -> Hard:
    """Each emission fits a double; the product of two does not."""
    case = one(160, 8, spelled(40, 8, repeat=2))
    x = case.logits()
    x[30:33, 0, 1:] -= 400
    x[70:76, 0, 0] -= 300
    x[110:112, 0, ::2] -= 680
    return Hard(case, x)


def in_segments(frames: int, labels: int, classes: int) -> Case:
    """An item with states above the 1 MiB of one segment, so that the core recomputes segments from checkpoints."""
    assert 20 * labels * frames > 1 << 20
    generator = torch.Generator().manual_seed(12)
    target = torch.randint(1, classes, (labels,), generator=generator)
    return one(frames, classes, tuple(target.tolist()))


@hard("several segments, improbable frames in some blocks")
def _segments() -> Hard:
    case = in_segments(500, 150, 6)
    x = case.logits()
    generator = torch.Generator().manual_seed(13)
    for first, count in ((20, 3), (120, 80), (250, 1), (330, 20), (480, 16)):
        rare = torch.rand(count, 1, 6, generator=generator) < 0.7
        x[first : first + count] = torch.where(rare, -200.0, 0.0).double()
    return Hard(case, x)


@hard("several segments, large vocabulary, improbable frames in some blocks")
def _segments_of_a_vocabulary() -> Hard:
    case = in_segments(403, 150, 1100)
    x = case.logits()
    x[100:150, 0, case.targets[0][::3]] -= 400
    x[100:150:3, 0, 0] -= 400
    x[300:302] -= torch.where(case.logits(seed=1)[300:302] > 0, 800.0, 0.0)
    return Hard(case, x)


@hard("several segments, emptied and filled again at the start of each")
def _revival_in_segments() -> Hard:
    case = in_segments(400, 170, 7)
    x = case.logits(scale=3)
    t = torch.arange(400)
    x[(t % 16 == 15) | (t % 16 == 0), 0, 1:] -= 680
    x[t % 48 == 1, 0, 0] = -torch.inf
    return Hard(case, x, limit=1e-6)


@hard("late labels improbable early: backward only")
def _beta_only() -> Hard:
    """Forward, no path has reached the labels when they are improbable; backward, all paths pass through them."""
    frames, labels = 96, 40
    case = one(frames, labels + 1, spelled(labels, labels + 1))
    t, s = torch.arange(frames)[:, None], torch.arange(labels)
    x = case.logits()
    x[:, 0, 1:] -= torch.where(s > t, 100.0, 0.0)
    return Hard(case, x)


@hard("early labels improbable late: forward only")
def _alpha_only() -> Hard:
    """The mirror image of the case before."""
    mirrored = _beta_only()
    case = mirrored.case
    return Hard(one(case.frames, case.classes, case.targets[0][::-1]), mirrored.x.flip(0))


@hard("a repeated label far below the blank that feeds it")
def _steep() -> Hard:
    """Just before a block begins, so that the powers of two of neighbours differ by more than a double's range."""
    case = one(96, 3, (1, 1, 2, 2, 1, 1, 2, 2))
    x = case.logits()
    for start in (16, 32, 48, 64):
        x[start - 2, 0, 0] -= 680
        x[start - 1, 0, 1:] -= 680
    return Hard(case, x)


def revival(first: int, *, drop: float = -60.0) -> Hard:
    """States with nearly all of the probability become 0, and are filled again from a state with 1e-300.

    Label 1 is certain until `first`, where both labels are impossible for a frame. Then a 1 and a 2 must follow. So all
    paths stay in the first blank, at e^-60 per frame. That state is negligible until the others become 0.
    """
    frames = first + 4
    x = torch.full((frames, 1, 3), drop, dtype=torch.float64)
    x[:, :, 1], x[:, :, 2] = 0.0, -1.0
    x[first - 1, 0] = torch.tensor([0.0, -torch.inf, -torch.inf])
    x[first, 0] = torch.tensor([-torch.inf, 0.0, -torch.inf])
    x[first + 1 :, 0] = torch.tensor([-torch.inf, -torch.inf, 0.0])
    return Hard(one(frames, 3, (1, 2)), x, logits=False)


for first in (14, 15, 16, 17, 18, 25, 31, 32, 33, 48):

    @hard(f"emptied and filled again in frame {first}")
    def _revival(first: int = first) -> Hard:
        return revival(first)

    @hard(f"emptied and filled again {first} frames from the end")
    def _mirrored_revival(first: int = first) -> Hard:
        mirrored = revival(first)
        return Hard(one(mirrored.case.frames, 3, (2, 1)), mirrored.x.flip(0), logits=False)


def fed_by_little(below: float, fall: float) -> Hard:
    """A label falls so far within a block that a blank far below it, which it did not feed, becomes significant.

    Only the label survives the next block, from frame 32 on, with the mass that the blank has given it.
    """
    x = torch.zeros(40, 1, 2, dtype=torch.float64)
    x[8, 0, 0] = -below  # the blank before the label, at the start of the next block
    x[20, 0, 1] = -fall
    x[32, 0, 0] = -torch.inf
    return Hard(one(40, 2, (1,)), x, logits=False)


for below, fall in ((709, 700), (709, 708), (712, 708)):

    @hard(f"a label falls by {fall}, and is fed by a blank {below} below where it was")
    def _fed(below: float = below, fall: float = fall) -> Hard:
        return fed_by_little(below, fall)

    @hard(f"a label falls by {fall}, and is fed by a blank {below} below where it was, backward")
    def _mirrored_fed(below: float = below, fall: float = fall) -> Hard:
        problem = fed_by_little(below, fall)
        return problem._replace(x=problem.x.flip(0))


for cost in (50, 60):

    @hard(f"waiting behind other labels at e^-{cost} a frame, and alone later")
    def _waiting(cost: int = cost) -> Hard:
        """For a block of frames the last label but one is certain, but only paths that have not reached it survive.

        They stay in the labels before it, and their probability falls to e^-800 or less. Backward, all paths are
        there, so the factor of such a small number must be as large.
        """
        wait, alone = 48, 64  # the first frames of blocks
        case = one(alone + 10, 27, spelled(26, 27))
        x = case.logits()
        x[wait:alone] = -cost
        x[wait:alone, 0, 25] = 0
        x[alone:] = -3000
        x[alone, 0, 0] = x[alone + 1, 0, 25] = 0
        x[alone + 2 :, 0, 26] = 0
        return Hard(case, x, logits=False)
