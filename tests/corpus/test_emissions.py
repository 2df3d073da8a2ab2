"""The emissions of one item, from a file or the user's model: accepted arrays, and messages for the others."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctckit import corpus
from ctckit.corpus.errors import ItemError
from tests.corpus.tasks import fault_of

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def from_file(name: str) -> torch.Tensor:
    return corpus.load_emissions(corpus.Item("a", 1, emissions=name))


def from_model(name: str, code: str, audio: str = "a.wav") -> torch.Tensor:
    """Each test needs its own module name, because a module is imported once."""
    Path(f"{name}.py").write_text(f"import numpy, torch\n{code}\n")
    Path("a.wav").touch()
    return corpus.load_emissions(corpus.Item("a", 1, audio=audio), f"{name}:hear")


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (1, 4, 3), (1, 1, 3), (0, 3), (1, 0, 3)], ids=str)
@pytest.mark.parametrize("name", ["x.npy", "x.NPY", "x.npz"])
def test_shapes_that_are_taken(name: str, shape: tuple[int, ...]) -> None:
    """A file is mapped read-only; torch's warning about that is not shown."""
    x = np.arange(float(np.prod(shape))).reshape(shape)
    np.save("x.npy", x)
    np.savez("x.npz", x)
    if name == "x.NPY":
        Path("x.npy").rename(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = from_file(name)
    assert found.shape == shape[-2:]
    assert np.array_equal(found.numpy(), x.reshape(shape[-2:]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 3), (0, 4, 3), (1, 1, 4, 3)], ids=str)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_shapes_that_are_not(suffix: str, shape: tuple[int, ...]) -> None:
    np.save("x.npy", np.zeros(shape))
    np.savez("x.npz", np.zeros(shape))
    with pytest.raises(ItemError, match="its emissions are float64 of shape ") as error:
        from_file(f"x.{suffix}")
    assert f"of shape {shape}, but must be floating-point" in str(error.value)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_values_that_are_no_numbers(suffix: str) -> None:
    x = np.array([["a", "b"]])
    np.save("x.npy", x)
    np.savez("x.npz", x)
    with pytest.raises(ItemError, match=rf"x.{suffix} holds <U1, which torch cannot read: ") as error:
        from_file(f"x.{suffix}")
    assert error.value.kind == "emissions"


@pytest.mark.parametrize("count", [2, 8, 9])
def test_an_archive_of_several_arrays(count: int) -> None:
    """The message names the first eight arrays."""
    np.savez("x.npz", **{f"a{number}": np.full((1, 2), float(number)) for number in range(count)})  # type: ignore[arg-type]
    assert float(from_file("x.npz[a1]")[0, 0]) == 1.0
    names = ", ".join(f"a{number}" for number in range(min(count, 8))) + (", ..." if count > 8 else "")
    for name, what in (("x.npz", f"has {count} arrays"), ("x.npz[b]", "has no array 'b'")):
        with pytest.raises(ItemError) as error:
            from_file(name)
        assert str(error.value).endswith(f"{what}: name one as x.npz[NAME], where NAME is one of {names}")
        assert error.value.kind == "unreadable"


def test_a_package_that_is_missing_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item would fail, so the run ends."""
    Path("x.safetensors").touch()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(corpus.CorpusError, match="safetensors"):
        from_file("x.safetensors")


@pytest.mark.parametrize(
    "name", ["x.npy", "x.npz", "x.safetensors", "x.txt", "a" * 300 + ".npy", "a\0.npy", "folder.npy"]
)
def test_files_that_are_not_there(name: str) -> None:
    Path("folder.npy").mkdir()
    with pytest.raises(
        ItemError, match=r"there is no file .* \(paths are relative to the manifest's folder\)"
    ) as error:
        from_file(name)
    assert error.value.kind == "missing"


# --------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a_tensor", "torch.full((4, 3), 2.0)"),
        ("with_a_gradient", "torch.full((4, 3), 2.0, requires_grad=True) * 1.0"),
        ("an_array", "numpy.full((4, 3), 2.0, dtype='f4')"),
        ("another_order", "numpy.full((4, 3), 2.0, dtype='>f4')"),
        ("a_list", "numpy.full((1, 4, 3), 2.0, dtype='f4').tolist()"),
    ],
)
def test_what_a_model_may_return(name: str, value: str) -> None:
    found = from_model(f"ears_of_{name}", f"def hear(path): return {value}")
    assert torch.equal(found.float(), torch.full((4, 3), 2.0))
    assert not found.requires_grad


BAD: dict[str, tuple[str, str, str]] = {
    "error": ("def hear(path): raise KeyError(5)", "model", "ears_that_error:hear failed for 'a.wav': KeyError: 5"),
    "exit": ("def hear(path): raise SystemExit(3)", "model", "ears_that_exit:hear failed for 'a.wav': SystemExit: 3"),
    "turn": ("def hear(path): return numpy.zeros((4, 3))[::-1]", "emissions", "hear holds float64, which torch cannot"),
    "say nothing": ("def hear(path): return None", "emissions", "hear holds object, which torch cannot read"),
    "count": ("def hear(path): return torch.ones(4, 3).long()", "emissions", "are int64 of shape (4, 3)"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_a_model_may_not_do(what: str) -> None:
    code, kind, message = BAD[what]
    with pytest.raises(ItemError) as error:
        from_model(f"ears_that_{what.replace(' ', '_')}", code)
    assert error.value.kind == kind
    assert message in str(error.value)


def test_a_model_that_is_no_function() -> None:
    with pytest.raises(corpus.CorpusError, match=r"model 'ears_of_number:hear' is a int, but must be a function"):
        from_model("ears_of_number", "hear = 5")


def test_audio_that_is_not_there() -> None:
    """The model is not called."""
    for audio in ("b.wav", "a" * 300, "."):
        with pytest.raises(ItemError, match="there is no file") as error:
            from_model("ears_of_nobody", "def hear(path): raise ValueError", audio)
        assert error.value.kind == "missing"


def test_audio_without_a_model() -> None:
    item: Any = corpus.Item("a", 1, audio="a.wav")
    with pytest.raises(ItemError, match="it has audio but no emissions: name a model for them") as error:
        corpus.load_emissions(item)
    assert error.value.kind == "missing"


def load(path: str | Path) -> torch.Tensor:
    return corpus.load_emissions(corpus.Item("a", 1, emissions=str(path)))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_arrays_of_numpy(tmp_path: Path, dtype: str) -> None:
    x = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "x.npy", x[None])
    np.savez_compressed(tmp_path / "x.npz", x)
    np.savez(tmp_path / "two.npz", a=x + 1, b=x)
    for name in ("x.npy", "x.npz", "two.npz[b]"):
        assert np.array_equal(load(tmp_path / name).numpy(), x)


def test_npy_is_mapped_not_read(tmp_path: Path) -> None:
    """A sparse file of 256 GiB, of which one frame is read."""
    shape = (1 << 22, 1 << 14)  # 256 GiB
    path = tmp_path / "huge.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        try:
            file.truncate(file.tell() + 4 * shape[0] * shape[1])
        except OSError:
            pytest.skip("this file system has no sparse files")
    try:
        x = load(path)
    except ValueError as error:
        pytest.skip(f"no address space for it: {error}")
    assert x.shape == shape
    assert float(x[-1].sum()) == 0


def test_safetensors(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    x = torch.randn(5, 3)
    save_file({"a": x.bfloat16(), "b": x}, tmp_path / "x.safetensors")
    assert torch.equal(load(f"{tmp_path}/x.safetensors[b]"), x)
    assert torch.equal(load(f"{tmp_path}/x.safetensors[a]"), x.bfloat16())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.npy", "there is no file"),
        ("text.npy", "cannot be read"),
        ("text.npz", "cannot be read"),
        ("pickle.npy", "cannot be read"),
        ("two.npz", r"has 2 arrays: name one as two\.npz\[NAME\], where NAME is one of a, b"),
        ("two.npz[c]", "has no array 'c'"),
        ("whole.npy", r"are int64 of shape \(2, 2\), but must be floating-point, \(T, C\)"),
        ("vector.npy", r"of shape \(3,\)"),
        ("words.txt", "is not a file of emissions"),
    ],
)
def test_bad_emissions(tmp_path: Path, name: str, message: str) -> None:
    for junk in ("text.npy", "text.npz", "words.txt"):
        (tmp_path / junk).write_text("junk")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.save(tmp_path / "whole.npy", np.ones((2, 2), dtype=np.int64))
    np.save(tmp_path / "vector.npy", np.ones(3))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / name)


def test_emissions_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listening.py").write_text(
        "import pathlib, torch\n"
        "print('imported')\n"
        "def hear(path):\n"
        "    print('heard')\n"
        "    return torch.full((6, 3), float(pathlib.Path(path).read_text())).requires_grad_()\n"
        "def fail(path): raise RuntimeError('deaf')\n"
    )
    (tmp_path / "a.wav").write_text("0.5")
    item = corpus.Item("a", 1, audio=str(tmp_path / "a.wav"), tokens=(1,))
    for _ in range(2):
        x = corpus.load_emissions(item, "listening:hear")
        assert torch.equal(x, torch.full((6, 3), 0.5))
        assert not x.requires_grad
    printed = capsys.readouterr()
    assert printed.out.count("imported") <= 1
    assert "heard" in printed.err
    assert "heard" not in printed.out

    assert fault_of(corpus.LossTask(model="listening:fail")(item)) == (
        "model", f"listening:fail failed for {item.audio!r}: RuntimeError: deaf",
    )  # fmt: skip
    assert "--model" in fault_of(corpus.LossTask()(item))[1]
    for model, message in (
        ("listening", "must be module:function"),
        ("listening:no", "no 'no'"),
        ("nothing:f", "nothing"),
    ):
        with pytest.raises(corpus.CorpusError, match=message):
            list(corpus.run(corpus.LossTask(model=model), [item]))
