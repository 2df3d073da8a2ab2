"""What holds for all tests: a fixed seed, one thread, poisoned memory, and one list of the backends to test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tools.core_memory import fill_core_memory
from tests.tools.sanitizers import is_sanitized, thin_out

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import hypothesis
except ImportError:  # on a machine with a GPU, where the tests of the kernels do without
    pass
else:
    # The same examples on every machine; HYPOTHESIS_PROFILE=explore looks for new ones.
    hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, database=None, max_examples=50)
    hypothesis.settings.register_profile("explore", deadline=None, database=None, max_examples=2000)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

BACKENDS = ("cpu",) if is_sanitized() else ("reference", "cpu")
"""The backends to test; with sanitizers only the one that they watch."""
SIMD_LEVELS = ("avx512", "avx2", "baseline")
"""Every instruction set that is built for some platform."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With sanitizers, leave some cases out."""
    if is_sanitized():
        config.hook.pytest_deselected(items=thin_out(items))


@pytest.fixture(autouse=True)
def _same_every_time() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Fills what `torch.empty` returns with NaN, or with the largest integer: what is not written shows.
    torch.use_deterministic_algorithms(True)
    fill_core_memory(0xFF)  # the same for the core's own memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each backend in turn, in use while the test runs. One that is not built shows as skipped."""
    name: str = request.param
    if name == "cpu":
        _need_core()
    from ctckit import backends

    with backends.use(name):
        yield name


@pytest.fixture
def core() -> Iterator[None]:
    """The C++ core, in use while the test runs."""
    _need_core()
    from ctckit import backends

    with backends.use("cpu"):
        yield


@pytest.fixture(params=SIMD_LEVELS)
def simd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of each instruction set in turn, in use while the test runs. One that cannot run here is skipped."""
    _need_core()
    from ctckit import backends
    from ctckit.backends import cpu

    name: str = request.param
    if name not in cpu.simd_levels():
        pytest.skip(f"this processor, or this build, has {', '.join(cpu.simd_levels())} only")
    monkeypatch.setenv("CTCKIT_SIMD", name)
    with backends.use("cpu"):
        yield name


def _need_core() -> None:
    try:
        import ctckit._core  # noqa: F401
    except ImportError as error:
        pytest.skip(f"the core is not built: {error}")
