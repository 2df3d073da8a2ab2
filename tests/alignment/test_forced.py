"""Forced alignment: the best path, ties, and tokens; against enumeration, then against the reference."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import ctckit
from ctckit.lattice import Lattice, gate
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, Case, cases, masked, random_case
from tests.tools.core_memory import fill_core_memory
from tests.tools.sanitizers import is_sanitized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SIMD = ("avx512", "avx2", "baseline")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.fixture(params=SIMD if is_sanitized() else ("reference", *SIMD))
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run with the reference, and with the core at every SIMD level of this machine."""
    name: str = request.param
    if name == "reference":
        with ctckit.backends.use(name):
            yield name
        return
    core = pytest.importorskip("ctckit._core")
    if name not in core.simd_levels():
        pytest.skip(f"{name} cannot run here")
    monkeypatch.setenv("CTCKIT_SIMD", name)
    with ctckit.backends.use("cpu"):
        yield name


@pytest.fixture(params=SIMD)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run with the core at every SIMD level of this machine."""
    name: str = request.param
    if name not in pytest.importorskip("ctckit._core").simd_levels():
        pytest.skip(f"{name} cannot run here")
    monkeypatch.setenv("CTCKIT_SIMD", name)
    with ctckit.backends.use("cpu"):
        yield name


def quarters(*shape: int, lowest: int = 4, seed: int = 0) -> Tensor:
    """Log-probabilities that are small multiples of 1/4, so that sums are exact and many paths tie."""
    generator = torch.Generator().manual_seed(seed)
    return -torch.randint(0, lowest + 1, shape, generator=generator).double() / 4


def chosen(paths: tuple[oracle.Target, ...], blank: int) -> oracle.Target:
    """The rule for ties: from the end, the label before the blank after it; then the latest state."""

    def rank(path: oracle.Target) -> tuple[int, ...]:
        last, *before = reversed(oracle.states_of(path, blank))
        return -last, *before

    return max(paths, key=rank) if paths[0] else paths[0]


def align(case: Case, x: Tensor, form: str = "padded", **options: Any) -> tuple[Tensor, Tensor]:
    """Align (T, N, C) log-probabilities, with the arguments in one of the forms."""
    emissions, targets, input_lengths, target_lengths, blank = FORMS[form](case.padded(x), case)
    return ctckit.forced_align(emissions.transpose(0, 1), targets, input_lengths, target_lengths, blank, **options)


def reference(case: Case, x: Tensor) -> ctckit.reference.BestPath:
    emissions, lattice, _ = gate(*case.padded(x))
    return ctckit.reference.best_path(emissions, lattice)


# ------------------------------------------------------------------------------------------------------- by enumeration


@pytest.mark.parametrize(
    ("frames", "classes", "blank"), [(1, 3, 0), (2, 3, 1), (3, 4, 3), (4, 3, 2), (5, 3, 0), (6, 3, 1)]
)
@pytest.mark.parametrize("lowest", [0, 1, 4])
def test_best_of_all_paths_by_the_tie_rule(frames: int, classes: int, blank: int, lowest: int, engine: str) -> None:
    x = quarters(frames, classes, lowest=lowest, seed=frames)
    answers = oracle.solve(oracle.weights(x.tolist()), classes, blank)
    ties = 0
    targets = list(answers)
    table = torch.full((len(targets), frames), -100)
    for row, target in zip(table, targets, strict=True):
        row[: len(target)] = torch.tensor(target, dtype=torch.int64)
    paths, scores = ctckit.forced_align(x.expand(len(targets), frames, classes), table, blank=blank)
    for target, path, score in zip(targets, paths.tolist(), scores.sum(1).tolist(), strict=True):
        ways = answers[target].best_paths
        ties += len(ways) > 1
        assert tuple(path) == chosen(ways, blank), (target, engine)
        oracle.assert_best_path(path, score, answers[target], tolerance=1e-12)
    assert ties > 0 or frames <= 2 or lowest > 1


@pytest.mark.parametrize("seed", range(5))
def test_best_of_all_paths_with_impossible_classes(seed: int, engine: str) -> None:
    x = masked(quarters(5, 3, seed=seed), share=0.25, seed=seed)
    for target in oracle.targets(3, 0, 3):
        answer = oracle.answer(oracle.weights(x.tolist()), 3, target, 0)
        path, scores = ctckit.forced_align(x, torch.tensor(target, dtype=torch.int64), infeasible="blank")
        if answer.likelihood == 0:
            assert path.tolist() == [0] * 5
            assert (scores == -torch.inf).all()
        else:
            assert tuple(path.tolist()) == chosen(answer.best_paths, 0), (target, engine)


# -------------------------------------------------------------------------------------------------------- by properties


@given(case=cases(max_frames=20, max_target=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_properties_of_the_path(case: Case, engine: str) -> None:
    x = case.logits(torch.float32).log_softmax(2)
    paths, scores = align(case, x, infeasible="blank")
    nll = ctckit.ctc_loss(x, *case.padded(x)[1:], reduction="none")
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        path, score = paths[item, :frames], scores[item, :frames]
        assert (paths[item, frames:] == case.blank).all()
        assert (scores[item, frames:] == 0).all()
        if not case.feasible[item]:
            assert (path == case.blank).all()
            assert (score == -torch.inf).all()
            continue
        assert torch.equal(score, x[torch.arange(frames), item, path]), engine
        assert score.sum() <= -nll[item] + 1e-4
        spans = ctckit.merge_tokens(paths[item], scores[item], case.blank)
        assert tuple(span.token for span in spans) == target
        assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
        assert all(0 <= span.start < span.end <= frames for span in spans)


@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_call(case: Case, form: str, engine: str) -> None:
    x = case.logits(torch.float64).log_softmax(2)
    expected = reference(case, x)
    paths, scores = align(case, x, form, infeasible="blank")
    assert paths.dtype == (torch.int32 if form == "narrow integers" else torch.int64), engine
    assert torch.equal(paths.long(), expected.classes)
    assert torch.equal(scores, expected.scores)


# ------------------------------------------------------------------------------------------------ against the reference

SHAPES = (
    random_case(50, 5, 7, 12),
    random_case(200, 3, 32, 60, blank=31),
    random_case(130, 2, 300, 20),  # more classes than the targets name
    random_case(300, 2, 40, 250, blank=3),
    random_case(90, 2, 200, 45),
    Case(
        "long targets", 900, 9, (tuple(1 + i % 8 for i in range(899)), tuple(1 + i % 8 for i in range(500))), (900, 777)
    ),
    Case("all repeats", 401, 2, ((1,) * 201, (1,) * 150), (401, 400)),
    Case(
        "hardly a frame to spare",
        100,
        200,
        tuple(tuple(1 + i % 199 for i in range(n)) for n in (15, 16, 17, 31, 32, 33, 63, 64, 95, 98, 99, 100)),
        (15, 17, 17, 32, 33, 35, 64, 67, 96, 99, 100, 100),
    ),
    Case("no labels", 100, 3, ((), (1,)), (100, 70)),
)


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_core_equals_reference_bitwise(case: Case, dtype: torch.dtype, core: str) -> None:
    for x in (case.logits(dtype).log_softmax(2), quarters(case.frames, case.items, case.classes).to(dtype)):
        assert_same(case, x, core)


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_any_checkpoints_give_the_same_path(case: Case, core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctckit.backends.cpu._CHECKPOINT_BYTES", 0)  # as few as possible
    assert_same(case, quarters(case.frames, case.items, case.classes).float(), core)


def assert_same(case: Case, x: Tensor, name: str) -> None:
    expected = reference(case, x)
    emissions, lattice, _ = gate(*case.padded(x))
    for byte in (0, 0xFF):  # for any previous contents of scratch memory
        fill_core_memory(byte)
        actual = ctckit.backends.backend_for(torch.device("cpu")).best_path(emissions, lattice)
        for field, a, b in zip(expected._fields, actual, expected, strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=f"{field}, {name}")


@pytest.mark.parametrize("classes", [129, 200, 1025])
def test_targets_whose_labels_all_differ(classes: int, core: str) -> None:
    """Every label has its own entry in the core's tables; targets of 7, 15, ... labels fill whole cache lines.

    The last label is class 0, so that a table one entry too short loses it.
    """
    lengths = (1, 2, 3, 6, 7, 8, 9, 14, 15, 16, 17, 23, 24, 31, 32, 33, 39, 40, 41)
    targets = tuple((*range(2, n + 1), 0) for n in lengths)
    case = Case("all different", 60, classes, targets, (60,) * len(lengths), blank=1)
    for dtype in (torch.float32, torch.float64):
        assert_same(case, case.logits(dtype).log_softmax(2), core)


def test_batch_equals_items_one_by_one(core: str) -> None:
    case = random_case(150, 9, 40, 50)
    x = case.logits(torch.float32).log_softmax(2)
    torch.set_num_threads(2)
    paths, scores = align(case, x, infeasible="blank")
    torch.set_num_threads(1)
    for item, (target, frames) in enumerate(zip(case.targets, case.input_lengths, strict=True)):
        path, score = ctckit.forced_align(x[:frames, item], torch.tensor(target), infeasible="blank")
        assert torch.equal(paths[item, :frames], path), core
        assert torch.equal(scores[item, :frames], score)


# ------------------------------------------------------------------------------------------------------ special numbers


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [(20, 3), (0, 1), (29, 3)], ids=["within", "cannot be reached", "cannot finish"])
def test_a_value_that_is_no_log_probability_touches_its_item_alone(
    place: tuple[int, int], value: float, engine: str
) -> None:
    case = Case("three", 40, 5, ((1, 2), (3, 1), (2, 1)), (40, 30, 40))
    x = case.logits(torch.float32).log_softmax(2)
    clean, clean_scores = align(case, x)
    x[place[0], 1, place[1]] = value  # a label's
    x[30:, 1] = value  # beyond the length
    x[:, 0, 4] = value  # a class that the target does not name
    paths, scores = align(case, x)
    assert torch.equal(paths[[0, 2]], clean[[0, 2]]), engine
    assert torch.equal(scores[[0, 2]], clean_scores[[0, 2]])
    assert (paths[1] == 0).all()
    assert scores[1, :30].isnan().all()
    assert (scores[1, 30:] == 0).all()


def test_infeasible_items_are_named(engine: str) -> None:
    x = torch.zeros(3, 4, 3).log_softmax(2)
    targets = torch.tensor([[1, 2, 0], [2, 2, 2], [1, 1, 2]])
    with pytest.raises(ValueError, match=r"item 1 needs 5 frames \(3 labels, .* 2 pairs .*, but has 4"):
        ctckit.forced_align(x, targets, None, torch.tensor([2, 3, 3]))
    with pytest.raises(ValueError, match=r"item 0 needs 2 frames \(2 labels\).*\(and 1 more item\)"):
        ctckit.forced_align(x, targets, [1, 4, 2], [2, 2, 2])
    with pytest.raises(ValueError, match=r"item 0 needs 2 frames \(2 labels\).*\(and 2 more items\)"):
        ctckit.forced_align(x, targets, [1, 1, 1], [2, 2, 2])
    with pytest.raises(
        ValueError, match=r"item 2 needs 4 frames \(3 labels, .*, but has 3"
    ):  # in a batch the item has a number
        ctckit.align(x, [[1], [ctckit.WILDCARD], [1, 1, 2]], input_lengths=[4, 4, 3], logits=True)
    x[0, 2] = -torch.inf
    assert engine
    with pytest.raises(ValueError, match="log-probabilities of -inf bar every path of item 0 through its 4 frames"):
        ctckit.forced_align(x, targets, None, [2, 2, 3])


def test_bad_input(engine: str) -> None:
    x = torch.zeros(2, 5, 3)
    targets = torch.tensor([[1, 2], [2, 1]])
    for arguments, error, message in (
        ((x, torch.tensor([[1, 0], [1, 2]])), ValueError, "label 1 of item 0 is 0, the blank"),
        ((x, torch.tensor([[1, 2], [3, 2]])), ValueError, "label 0 of item 1 is 3"),
        ((x, targets, [6, 5]), ValueError, r"input_lengths\[0\] is 6"),
        ((x, targets, None, [2, 3]), ValueError, r"target_lengths\[1\] is 3"),
        ((x, targets, None, None, 3), ValueError, "blank is 3"),
        ((x, targets.float()), TypeError, "targets has dtype"),
        ((x.long(), targets), TypeError, "log_probs has dtype"),
        ((x[0, 0], targets), ValueError, "log_probs has shape"),
        ((x, targets[0]), ValueError, "target_lengths is None"),
    ):
        with pytest.raises(error, match=message):
            ctckit.forced_align(*arguments)
    with pytest.raises(ValueError, match="infeasible is 'ignore'"):
        ctckit.forced_align(x, targets, infeasible="ignore")  # type: ignore[arg-type]
    assert engine


def test_scores_can_be_differentiated(engine: str) -> None:
    case = random_case(20, 3, 5, 6)
    x = case.logits(torch.float64).log_softmax(2)
    x[case.input_lengths[1] :, 1] = torch.nan
    x.requires_grad_()
    paths, scores = align(case, x)
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    expected = torch.zeros_like(x)
    for item, frames in enumerate(case.input_lengths):
        expected[torch.arange(frames), item, paths[item, :frames]] = 1
    assert torch.equal(gradient, expected), engine


# --------------------------------------------------------------------------------------------------------------- tokens


def test_merge_tokens() -> None:
    path = torch.tensor([5, 5, 1, 1, 1, 5, 1, 2, 5], dtype=torch.int32)
    scores = -torch.arange(9.0) / 8
    spans = ctckit.merge_tokens(path, scores, blank=5)
    assert spans == [
        ctckit.TokenSpan(1, 2, 5, -3 / 8),
        ctckit.TokenSpan(1, 6, 7, -6 / 8),
        ctckit.TokenSpan(2, 7, 8, -7 / 8),
    ]
    assert [len(span) for span in spans] == [3, 1, 1]
    assert ctckit.merge_tokens(path[:2], scores[:2], blank=5) == []
    assert ctckit.merge_tokens(path[:0], scores[:0]) == []
    assert len(ctckit.merge_tokens(path, scores.bfloat16().requires_grad_())) == 6
    for bad in ((path[None], scores[None]), (path, scores[1:])):
        with pytest.raises(ValueError, match=r"both must be \(T,\)"):
            ctckit.merge_tokens(*bad)


def test_without_items_or_frames(engine: str) -> None:
    paths, scores = ctckit.forced_align(torch.zeros(0, 4, 3), torch.zeros(0, 2, dtype=torch.int64))
    assert paths.shape == scores.shape == (0, 4), engine
    paths, scores = ctckit.forced_align(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.int32))
    assert paths.shape == scores.shape == (2, 0)
    with pytest.raises(ValueError, match=r"item 1 needs 1 frame \(1 label\)"):
        ctckit.forced_align(torch.zeros(2, 0, 3), torch.tensor([[-100], [2]]))


def test_a_lattice_can_be_passed_around() -> None:
    """The fields of the result belong together."""
    x = torch.randn(6, 2, 4).log_softmax(2)
    _, lattice, _ = gate(x, torch.tensor([[1, 1], [2, 3]]), None, None, 0)
    assert isinstance(lattice, Lattice)
    best = ctckit.reference.best_path(x, lattice)
    labels = torch.tensor([[0, 1, 0, 1, 0], [0, 2, 0, 3, 0]])
    assert torch.equal(labels.gather(1, best.states), best.classes)
    torch.testing.assert_close(best.scores.double().sum(1), best.totals)


# ------------------------------------------------------------------------------------------------- torchaudio's numbers

# Cases of torchaudio's own tests of `forced_align` (with the samples of TensorFlow's CTC tests): targets,
# probabilities, the path, and minus its log-probability. That is the loss too, because no other path exists.
KNOWN = {
    "all different": (
        [0, 1, 2, 1, 0],
        [
            [0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553],
            [0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436],
            [0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688],
            [0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533],
            [0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107],
        ],
        [0, 1, 2, 1, 0],
        3.34211,
    ),
    "a repeat": (
        [0, 1, 1, 0],
        [
            [0.30176, 0.28562, 0.0831517, 0.0862751, 0.0816851, 0.161508],
            [0.24082, 0.397533, 0.0557226, 0.0546814, 0.0557528, 0.19549],
            [0.230246, 0.450868, 0.0389607, 0.038309, 0.0391602, 0.202456],
            [0.280884, 0.429522, 0.0326593, 0.0339046, 0.0326856, 0.190345],
            [0.423286, 0.315517, 0.0338439, 0.0393744, 0.0339315, 0.154046],
        ],
        [0, 1, 5, 1, 0],
        5.42262,
    ),
}


@pytest.mark.parametrize("targets_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", KNOWN)
def test_results_known_of_torchaudio(name: str, dtype: torch.dtype, targets_dtype: torch.dtype, engine: str) -> None:
    target, rows, path, loss = KNOWN[name]
    log_probs = torch.tensor([rows], dtype=torch.float64).log().to(dtype)
    paths, scores = ctckit.forced_align(log_probs, torch.tensor([target], dtype=targets_dtype), blank=5)
    assert paths.tolist() == [path], engine
    assert paths.dtype == targets_dtype
    assert torch.equal(scores, log_probs[0, torch.arange(5), path][None])
    rounding = {torch.float16: 1e-3, torch.float32: 1e-5, torch.float64: 1e-5}[dtype]
    assert -scores.double().sum().item() == pytest.approx(loss, rel=rounding)
    spans = ctckit.merge_tokens(paths[0], scores[0], blank=5)
    assert [span.token for span in spans] == target
    assert all(len(span) == 1 for span in spans)
