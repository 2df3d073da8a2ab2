"""CTC for PyTorch: the loss and its gradient, and where each label is in the signal.

>>> import torch, ctckit
>>> ctckit.ctc_loss_with_logits(torch.zeros(4, 1, 3), torch.tensor([[1, 2]]))
tensor(0.8432)
"""

from ctckit import backends, reference
from ctckit.alignment import TokenSpan, forced_align, merge_tokens
from ctckit.alignment_result import AlignedToken, AlignedWord, Alignment
from ctckit.diagnosis import Problem, check, feasible
from ctckit.loss import CTCLoss, CTCWithLogitsLoss, ctc_loss, ctc_loss_with_logits
from ctckit.posterior import posteriors
from ctckit.text_alignment import align
from ctckit.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "AlignedToken",
    "AlignedWord",
    "Alignment",
    "CTCLoss",
    "CTCWithLogitsLoss",
    "Problem",
    "TokenSpan",
    "Vocabulary",
    "align",
    "backends",
    "check",
    "ctc_loss",
    "ctc_loss_with_logits",
    "feasible",
    "forced_align",
    "merge_tokens",
    "posteriors",
    "reference",
]
