"""NaN and infinity: the rule of docs/semantics.md, for the loss, the gradient, posteriors and paths."""

from __future__ import annotations

import pytest
import torch

import ctckit
from tests.tools.nonfinite import FRAMES, SITUATIONS, assert_is, batch, check_loss, check_posteriors

pytestmark = pytest.mark.usefixtures("backend")

situations = pytest.mark.parametrize("name", SITUATIONS)
logits_or_not = pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
# Above 1,024 classes the core uses other code.
any_classes = pytest.mark.parametrize("classes", [5, 1030])


@situations
@logits_or_not
@any_classes
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_loss(dtype: torch.dtype, classes: int, logits: bool, name: str) -> None:
    check_loss(SITUATIONS[name], classes, dtype, logits=logits)


@situations
@logits_or_not
@any_classes
def test_posteriors(classes: int, logits: bool, name: str) -> None:
    check_posteriors(SITUATIONS[name], classes, torch.float32, logits=logits)


@situations
@any_classes
def test_best_paths(classes: int, name: str) -> None:
    situation = SITUATIONS[name]
    what, frames = situation.of_log_probs, situation.frames
    x, targets, input_lengths, target_lengths = batch(situation, classes, torch.float32, logits=False)
    paths, scores = ctckit.forced_align(x.transpose(0, 1), targets, input_lengths, target_lengths, infeasible="blank")
    assert_is(scores[1, :frames], what, inf=-torch.inf)
    assert (scores[1, frames:] == 0).all()
    assert what == "finite" or (paths[1] == 0).all()
    assert scores[[0, 2]].isfinite().all()
    if what == "inf":
        with pytest.raises(ctckit.ArgumentValueError, match=r"no path spells the target: .*item 1 "):
            ctckit.forced_align(x.transpose(0, 1), targets, input_lengths, target_lengths)

    own, labels = x[:frames, 1], list(situation.target)
    pattern = [ctckit.Alternatives([label]) for label in labels]  # the same pattern as a graph
    for found in (
        ctckit.best_paths(own, labels, infeasible="blank")[0],
        ctckit.best_paths(own, pattern, k=2, infeasible="blank")[0],
        ctckit.sample_paths(own, pattern, 1, infeasible="blank")[0],
        ctckit.posterior_path(own, labels, infeasible="blank"),
    ):
        assert_is(torch.tensor(found.total), what, inf=-torch.inf)
        assert_is(found.scores, what, inf=-torch.inf)
    occupancy, log_likelihood, _ = ctckit.path_posteriors(own, labels)
    assert_is(torch.tensor(log_likelihood), what, inf=-torch.inf)
    assert_is(occupancy, what, inf=0.0)


@logits_or_not
def test_invalid_items_where_no_value_is_read(logits: bool) -> None:
    """Rule 1, under torch.func: the loss is NaN, the gradient 0, the occupancy NaN in the item's frames."""
    x = torch.randn(FRAMES, 2, 5, dtype=torch.float64)
    targets, lengths = torch.tensor([[1, 2], [1, 9]]), torch.tensor([2, 2])
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    losses = torch.vmap(lambda x: function(x, targets, None, lengths, reduction="none"))(x[None])[0]
    assert losses.isnan().tolist() == [False, True]
    slope = torch.func.grad(lambda x: function(x, targets, None, lengths, reduction="sum"))(x)
    assert slope[:, 0].isfinite().all()
    assert (slope[:, 1] == 0).all()
    occupancy = torch.vmap(lambda x: ctckit.posteriors(x, targets, [8, 6], lengths, logits=logits))(x[None])[0]
    assert occupancy[:, 0].isfinite().all()
    assert occupancy[:6, 1].isnan().all()
    assert (occupancy[6:, 1] == 0).all()
