"""Occupancy: of classes and of states, against the oracle, in every form of a call."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ctckit
from tests.tools import oracle
from tests.tools.cases import EDGE_CASES, FORMS, MIXED, Case, random_case
from tests.tools.exact_answers import GRADIENT_ERROR, dtypes, exact

pytestmark = pytest.mark.usefixtures("backend")


@dtypes
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize(("frames", "classes"), [(0, 2), (1, 1), (1, 3), (2, 2), (3, 3), (4, 3), (5, 3)])
def test_every_small_problem(frames: int, classes: int, logits: bool, dtype: torch.dtype) -> None:
    for blank in range(classes):
        one = Case("", frames, classes, ((),), (frames,)).logits(seed=blank).bfloat16()[:, 0]
        probs = oracle.softmax(one.tolist()) if logits else oracle.weights(one.tolist())
        answers = oracle.solve(probs, classes, blank)
        targets = tuple(oracle.targets(classes, blank, frames + 1))
        case = Case("", frames, classes, targets, (frames,) * len(targets), blank)
        arguments = case.padded(one.to(dtype)[:, None].expand(-1, len(targets), -1))
        by_class = ctckit.posteriors(*arguments, logits=logits)
        by_state = ctckit.posteriors(*arguments, logits=logits, per_state=True)
        assert by_class.dtype == by_state.dtype == dtype
        for item, target in enumerate(targets):
            right = answers.get(target, oracle.impossible(frames, classes, target))
            states = 2 * len(target) + 1
            tolerance = GRADIENT_ERROR[dtype]
            oracle.assert_table(by_class[:, item].double(), right.class_occupancy, tolerance=tolerance)
            oracle.assert_table(by_state[:, item, :states].double(), right.state_occupancy, tolerance=tolerance)
            assert not by_state[:, item, states:].count_nonzero()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_all_forms_give_the_same(case: Case, form: str) -> None:
    plain = case.padded(case.logits(torch.float32))
    for logits in (False, True):
        expected = ctckit.posteriors(*plain, logits=logits)
        assert torch.equal(ctckit.posteriors(*FORMS[form](plain, case), logits=logits), expected)
        states = ctckit.posteriors(*plain, logits=logits, per_state=True)
        others = ctckit.posteriors(*FORMS[form](plain, case), logits=logits, per_state=True)
        width = 2 * case.width + 1
        assert torch.equal(others[..., :width], states[..., :width])
        assert not others[..., width:].count_nonzero()


def test_layouts() -> None:
    """(T, N, .), (N, T, .) and (T, .), like the emissions."""
    x, *others = MIXED.padded(MIXED.logits())
    for per_state in (False, True):
        expected = ctckit.posteriors(x, *others, logits=True, per_state=per_state)
        assert expected.shape == (9, 5, 13 if per_state else 5)
        first = ctckit.posteriors(x.transpose(0, 1), *others, logits=True, batch_first=True, per_state=per_state)
        assert torch.equal(first, expected.transpose(0, 1))
        for targets in (torch.tensor([1, 2, 3]), torch.tensor([[1, 2, 3]])):
            alone = ctckit.posteriors(x[:, 0], targets, logits=True, per_state=per_state)
            assert torch.equal(alone, expected[:, 0, : alone.shape[1]])


def test_defaults_are_the_losses() -> None:
    """Lengths as in ctc_loss_with_logits; log-probabilities by default."""
    x, targets, *_ = MIXED.padded(MIXED.logits())
    table = MIXED.table(-100)
    by_default = ctckit.posteriors(x, table)
    lengths = torch.tensor([len(t) for t in MIXED.targets])
    assert torch.equal(by_default, ctckit.posteriors(x, targets, (9,) * 5, lengths, 0, logits=False))


def test_a_constant_to_autograd() -> None:
    x = MIXED.logits().requires_grad_()
    assert not ctckit.posteriors(*MIXED.padded(x), logits=True).requires_grad
    mapped = torch.vmap(lambda y: ctckit.posteriors(*MIXED.padded(y), logits=True))(x.detach()[None])
    torch.testing.assert_close(mapped[0], ctckit.posteriors(*MIXED.padded(x.detach()), logits=True))


@pytest.mark.parametrize("per_state", [False, True])
def test_longer_ones_against_the_reference(per_state: bool) -> None:
    for case in (random_case(70, 4, 40, 20, seed=1), random_case(100, 3, 400, 30, seed=2, blank=7)):
        arguments = case.padded(case.logits(scale=3))
        for logits in (False, True):
            answer = exact(arguments, logits=logits)
            right = answer.by_state if per_state else answer.by_class
            table = ctckit.posteriors(*arguments, logits=logits, per_state=per_state)
            torch.testing.assert_close(table, right, rtol=0, atol=1e-12)


def test_nan_and_infeasible() -> None:
    case = Case("", 20, 4, ((1, 2), (3, 3), (1,) * 11, (2,)), (20, 20, 20, 20))
    x = case.logits()
    clean = ctckit.posteriors(*case.padded(x), logits=True)
    x[7, 1, 2] = torch.nan
    by_class = ctckit.posteriors(*case.padded(x), logits=True)
    by_state = ctckit.posteriors(*case.padded(x), logits=True, per_state=True)
    for table in (by_class, by_state):
        assert table[:, 1].isnan().any(1).all()
        assert not table[:, 2].count_nonzero()
        assert table[:, [0, 2, 3]].isfinite().all()
    assert torch.equal(by_class[:, [0, 2, 3]], clean[:, [0, 2, 3]])


def test_where_the_labels_are() -> None:
    """The states of a nearly certain path have occupancy near 1, also those of equal labels."""
    path: list[int] = [0, 1, 1, 0, 1, 2, 2, 0]
    states: list[int] = [0, 1, 1, 2, 3, 5, 5, 6]
    x: Tensor = 30.0 * torch.nn.functional.one_hot(torch.tensor(path), 3).float()
    occupancy = ctckit.posteriors(x, torch.tensor([1, 1, 2]), logits=True, per_state=True)
    assert occupancy.argmax(1).tolist() == states
    assert (occupancy.amax(1) > 1 - 1e-6).all()


def test_along_a_path() -> None:
    """`states` selects from the table of all states, to the bit; 0 for no state, and beyond an item's states."""
    for case in (MIXED, random_case(70, 4, 40, 20, seed=1), *EDGE_CASES):
        for dtype in (torch.float16, torch.float32, torch.float64):
            x, targets, input_lengths, target_lengths, blank = case.padded(case.logits(dtype))
            arguments = (x, targets, input_lengths, target_lengths, blank)
            table = ctckit.posteriors(*arguments, logits=True, per_state=True).transpose(0, 1)
            generator = torch.Generator().manual_seed(0)
            states = torch.randint(-2, table.shape[2] + 2, table.shape[:2], generator=generator)
            picked = ctckit.posteriors(*arguments, logits=True, states=states)
            inside = (states >= 0) & (states < table.shape[2])
            right = table.gather(2, states.clamp(0, table.shape[2] - 1)[:, :, None])[:, :, 0]
            assert picked.dtype == dtype
            assert torch.equal(picked, torch.where(inside, right, 0.0))
            first = ctckit.posteriors(
                x.transpose(0, 1), *arguments[1:], logits=True, batch_first=True, states=states.to(torch.int32)
            )
            assert torch.equal(first, picked)


def test_along_a_path_of_one_item() -> None:
    x, states = MIXED.logits()[:, 0], torch.tensor([0, 1, 1, 2, 3, 4, 5, 6, 6])
    picked = ctckit.posteriors(x, torch.tensor([1, 2, 3]), logits=True, states=states)
    table = ctckit.posteriors(x, torch.tensor([1, 2, 3]), logits=True, per_state=True)
    assert torch.equal(picked, table.gather(1, states[:, None])[:, 0])
    mapped = torch.vmap(lambda y: ctckit.posteriors(y, torch.tensor([1, 2, 3]), logits=True, states=states))(x[None])
    torch.testing.assert_close(mapped[0], picked)
    x[3, 1] = torch.nan
    assert ctckit.posteriors(x, torch.tensor([1, 2, 3]), logits=True, states=states).isnan().all()


def test_states_that_are_none() -> None:
    x, targets = torch.zeros(4, 2, 3), torch.tensor([[1], [2]])
    with pytest.raises(ValueError, match="per_state and states are both given"):
        ctckit.posteriors(x, targets, per_state=True, states=torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"states has shape \(4, 2\), but must have one state per frame, \(2, 4\)"):
        ctckit.posteriors(x, targets, states=torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"states has dtype torch\.float32"):
        ctckit.posteriors(x, targets, states=torch.zeros(2, 4))
    with pytest.raises(TypeError, match="states is a list"):
        ctckit.posteriors(x, targets, states=[[0] * 4] * 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="states is on meta, but the emissions are on cpu: move one of them"):
        ctckit.posteriors(x, targets, states=torch.zeros(2, 4, dtype=torch.int64, device="meta"))
