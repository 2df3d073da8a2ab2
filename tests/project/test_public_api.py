"""The names and signatures that programs depend on."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch

import ctckit
import ctckit.corpus
import ctckit.page


def test_names() -> None:
    """`__all__` is sorted and complete; other public names are modules."""
    constants_first = sorted(ctckit.__all__, key=lambda name: (not name.isupper(), name))
    assert ctckit.__all__ == constants_first
    for name in ctckit.__all__:
        assert getattr(ctckit, name) is not None
    public = {name for name in vars(ctckit) if not name.startswith("_")}
    assert {name for name in public - set(ctckit.__all__) if not inspect.ismodule(getattr(ctckit, name))} == set()
    assert {
        "CTCLoss", "CTCWithLogitsLoss", "Problem", "backends", "check", "ctc_loss", "ctc_loss_with_logits", "feasible",
        "posteriors", "reference",
    } <= set(ctckit.__all__)  # fmt: skip


@pytest.mark.parametrize(
    "module", ["ctckit", "ctckit.lattice", "ctckit.backends", "ctckit.loss", "ctckit.lattice.diagnosis"]
)
def test_every_public_function_is_documented(module: str) -> None:
    __import__(module)
    for name in getattr(sys.modules[module], "__all__"):  # noqa: B009  # mypy knows of no such attribute
        value = getattr(sys.modules[module], name)
        if callable(value):
            assert inspect.getdoc(value), f"{module}.{name}"


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


def test_signatures_are_torchs() -> None:
    """Positional arguments: the same names, order and defaults, but that lengths may be left out. The others can only
    be named.
    """
    pairs = (
        (ctckit.ctc_loss, torch.nn.functional.ctc_loss),
        (ctckit.CTCLoss.__init__, torch.nn.CTCLoss.__init__),
        (ctckit.CTCLoss.forward, torch.nn.CTCLoss.forward),
    )
    for ours, theirs in pairs:
        expected = [
            (name, None if name in ("input_lengths", "target_lengths") else default, kind)
            for name, default, kind in parameters(theirs)
        ]
        assert parameters(ours)[: len(expected)] == expected
        assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, _, kind in parameters(ours)[len(expected) :])


def test_logits_differ_in_the_name() -> None:
    plain, with_logits = parameters(ctckit.ctc_loss), parameters(ctckit.ctc_loss_with_logits)
    assert [name for name, *_ in with_logits] == ["logits", *(name for name, *_ in plain[1:]), "inplace_grad"]
    assert with_logits[1:5] == plain[1:5]
    assert parameters(ctckit.posteriors)[1:5] == with_logits[1:5]
    assert parameters(ctckit.check)[1:5] == with_logits[1:5]


PUBLIC = [
    "ctckit",
    "ctckit.backends",
    "ctckit.corpus",
    "ctckit.lattice",
    "ctckit.page",
    "ctckit.plot",
    "ctckit.reference",
]


@pytest.mark.parametrize("module", PUBLIC)
def test_no_public_function_returns_any(module: str) -> None:
    imported = importlib.import_module(module)
    functions = [
        function
        for name in getattr(imported, "__all__", [])
        for _, function in [(name, getattr(imported, name)), *inspect.getmembers(getattr(imported, name))]
        if inspect.isfunction(function) and function.__module__.startswith("ctckit") and function.__name__[:2] != "__"
    ]
    for function in functions:
        returned = str(function.__annotations__.get("return", "missing"))
        assert returned not in ("Any", "typing.Any", "missing"), function.__qualname__


@pytest.mark.parametrize(
    "result",
    [
        ctckit.AlignedToken, ctckit.AlignedWord, ctckit.AlignedLine, ctckit.Alignment, ctckit.corpus.Item,
        ctckit.corpus.Outcome, ctckit.corpus.Fault, ctckit.page.PageItem,
    ],
)  # fmt: skip
def test_results_cannot_be_changed(result: Any) -> None:
    """Results are immutable and have slots, because a corpus has millions of them."""
    optional = dict.fromkeys(("dropped", "lines", "files", "warnings"), ())
    one = result(**{field.name: optional.get(field.name) for field in dataclasses.fields(result)})
    for field in dataclasses.fields(result):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field.name, None)
    assert not hasattr(one, "__dict__")


def test_spans_are_small() -> None:
    """They are mutable, as torchaudio's are, but a misspelt field is an error."""
    span = ctckit.TokenSpan(1, 0, 2, -0.5)
    span.start = 1
    assert len(span) == 1
    with pytest.raises(AttributeError):
        span.begin = 1  # type: ignore[attr-defined]


def test_an_alignment_of_the_least() -> None:
    alignment = ctckit.Alignment("", (), (), 0.0, 0)
    assert (alignment.frame_duration, alignment.offset, alignment.dropped) == (None, 0.0, ())
    assert (alignment.blank, alignment.lines) == (0, ())


def test_defaults_of_align() -> None:
    """The documentation names these defaults, and programs rely on them."""
    defaults = {name: default for name, default, _ in parameters(ctckit.align)}
    numbers = {"wildcard_score": -1.0, "prior_weight": 0.25, "offset": 0.0}
    names = {"method": "viterbi", "infeasible": "raise", "unknown": "raise"}
    for name, right in {**numbers, **names, "confidence": True, "logits": False, "batch_first": True}.items():
        assert defaults[name] == right, name


@pytest.mark.parametrize("write", [ctckit.Alignment.to_srt, ctckit.Alignment.to_vtt])
def test_limits_of_subtitles(write: Any) -> None:
    defaults = {name: default for name, default, _ in parameters(write)}
    assert (defaults["max_characters"], defaults["max_duration"], defaults["max_gap"]) == (84, 6.0, 0.6)


@pytest.mark.parametrize("module", [ctckit.CTCLoss, ctckit.CTCWithLogitsLoss])
def test_modules(module: type[torch.nn.Module]) -> None:
    """They have torch's attributes, show their options, and can be copied."""
    loss: Any = module(2, "sum", zero_infinity=True, batch_first=True)
    assert (loss.blank, loss.reduction, loss.zero_infinity, loss.batch_first) == (2, "sum", True, True)
    for words in ("blank=2", "reduction='sum'", "zero_infinity=True", "batch_first=True"):
        assert words in repr(loss)
    assert repr(pickle.loads(pickle.dumps(loss))) == repr(loss)  # noqa: S301  # our own
    assert list(loss.parameters()) == []
    assert "inplace_grad=True" in repr(ctckit.CTCWithLogitsLoss(inplace_grad=True))
    assert "inplace" not in repr(loss)
    plain: Any = module()
    assert (plain.blank, plain.reduction, plain.zero_infinity, plain.batch_first) == (0, "mean", False, False)


def test_version() -> None:
    from importlib.metadata import version

    assert ctckit.__version__ == version("ctckit")


def run_alone(code: str, *options: str) -> tuple[int, str, str]:
    """Run code in a fresh Python; return its exit code and its output."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own code
    return done.returncode, done.stdout, done.stderr


def test_import_does_nothing_surprising() -> None:
    """It imports no plotting, starts no thread, and prints nothing."""
    code = (
        "import sys, threading, ctckit\n"
        "assert not {'matplotlib', 'triton'} & set(sys.modules), 'loaded too much'\n"
        "assert threading.active_count() == 1\n"
    )
    assert run_alone(code, "-W", "error") == (0, "", "")


# ------------------------------------------------------------------------------------------------ choosing a backend


def test_a_forced_backend() -> None:
    cpu = torch.device("cpu")
    with ctckit.backends.use("reference"):
        assert ctckit.backends.name_for(cpu) == "reference"
        try:
            with ctckit.backends.use("cpu"):
                assert ctckit.backends.name_for(cpu) == "cpu"
        except ImportError:
            pytest.skip("the core is not built")
        assert ctckit.backends.name_for(cpu) == "reference"
    with pytest.raises(ValueError, match="there is no backend 'gpu': choose one of 'cpu'"), ctckit.backends.use("gpu"):
        pass


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import ctckit, torch
print(ctckit.backends.name_for(torch.device("cpu")))
with ctckit.backends.use("cpu"):  # the inner one counts
    print(ctckit.backends.name_for(torch.device("cpu")))
"""
    monkeypatch.setenv("CTCKIT_BACKEND", "reference")
    assert run_alone(program) == (0, "reference\ncpu\n", "")
    monkeypatch.setenv("CTCKIT_BACKEND", "nonsense")
    code, _, error = run_alone("import ctckit, torch; ctckit.ctc_loss(torch.zeros(3, 2), torch.tensor([1]), 3, 1)")
    assert code == 1
    assert "ValueError: there is no backend 'nonsense'" in error


def test_the_core_is_for_the_cpu() -> None:
    x, targets = torch.zeros(3, 2, device="meta"), torch.tensor([1], device="meta")
    assert ctckit.backends.name_for(x.device) == "reference"
    assert ctckit.ctc_loss(x, targets, 3, 1).device.type == "meta"
    with ctckit.backends.use("cpu"), pytest.raises(ValueError, match=r"forced, but the tensors are on meta.*\.cpu\(\)"):
        ctckit.backends.backend_for(x.device)


def test_without_the_core() -> None:
    """There is one warning, then the reference computes."""
    code = """
import sys, warnings
sys.modules["ctckit._core"] = None
import torch, ctckit
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert ctckit.ctc_loss(torch.zeros(1, 2), torch.tensor([1]), 1, 1).item() == 0
ours = [str(w.message) for w in caught if w.category is RuntimeWarning]
assert len(ours) == 1 and "slow reference backend" in ours[0] and "pip install" in ours[0], ours
assert ctckit.backends.name_for(torch.device("cpu")) == "reference"
"""
    assert run_alone(code) == (0, "", "")


def test_what_needs_the_core_says_so() -> None:
    """Language models, lexicons and hotwords are C++."""
    code = """
import sys, warnings
sys.modules["ctckit._core"] = None
warnings.simplefilter("ignore")
import ctckit, pathlib, tempfile
path = pathlib.Path(tempfile.mkdtemp()) / "lm.arpa"
path.write_text("")
for options in ({"lm": path}, {"lexicon": ["a"]}, {"hotwords": ["a"]}):
    try:
        ctckit.Decoder(["-", " ", "a"], blank=0, **options)
    except ImportError as error:
        assert "need ctckit's C++ core" in str(error) and "pip install" in str(error), error
    else:
        raise AssertionError(options)
"""
    assert run_alone(code) == (0, "", "")
