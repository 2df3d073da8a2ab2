"""CTC for PyTorch: the loss, its gradient, forced alignment of labels, patterns and texts, and decoding.

>>> import torch, ctckit
>>> ctckit.ctc_loss_with_logits(torch.zeros(4, 1, 3), torch.tensor([[1, 2]]))
tensor(0.8432)
"""

from ctckit import backends, reference
from ctckit.alignment.forced import TokenSpan, forced_align, merge_tokens
from ctckit.alignment.occupancy import posteriors
from ctckit.alignment.patterns import Path, PathPosteriors, best_paths, path_posteriors, posterior_path, sample_paths
from ctckit.alignment.priors import LabelPriors, label_priors
from ctckit.alignment.text import align
from ctckit.decoding.beam import beam_search
from ctckit.decoding.decoder import Decoder
from ctckit.decoding.greedy import greedy_decode
from ctckit.decoding.hypothesis import Decoding, Hypothesis
from ctckit.decoding.ngram import NGram
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.diagnosis import Problem, check, feasible
from ctckit.lattice.pattern import WILDCARD, Alternatives
from ctckit.loss import CTCLoss, CTCWithLogitsLoss, ctc_loss, ctc_loss_with_logits
from ctckit.output.alignment import AlignedLine, AlignedToken, AlignedWord, Alignment
from ctckit.text.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "WILDCARD",
    "AlignedLine",
    "AlignedToken",
    "AlignedWord",
    "Alignment",
    "Alternatives",
    "ArgumentTypeError",
    "ArgumentValueError",
    "CTCLoss",
    "CTCWithLogitsLoss",
    "Decoder",
    "Decoding",
    "Hypothesis",
    "LabelPriors",
    "NGram",
    "Path",
    "PathPosteriors",
    "Problem",
    "TokenSpan",
    "Vocabulary",
    "align",
    "backends",
    "beam_search",
    "best_paths",
    "check",
    "ctc_loss",
    "ctc_loss_with_logits",
    "feasible",
    "forced_align",
    "greedy_decode",
    "label_priors",
    "merge_tokens",
    "path_posteriors",
    "posterior_path",
    "posteriors",
    "reference",
    "sample_paths",
]
