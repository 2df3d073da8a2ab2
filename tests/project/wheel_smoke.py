"""Checks an installed wheel without the repository: ``python -I tests/project/wheel_smoke.py``."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import subprocess
import sys
from collections.abc import Callable

import torch

import ctckit


def main() -> None:
    package = importlib.resources.files(ctckit)
    for name in ("py.typed", "_core.pyi"):
        assert package.joinpath(name).is_file(), f"{name} is missing from the wheel"

    torch.manual_seed(0)
    logits = torch.randn(50, 4, 20, requires_grad=True)
    targets = torch.randint(1, 20, (4, 12))
    input_lengths, target_lengths = torch.tensor([50, 48, 40, 30]), torch.tensor([12, 11, 5, 0])

    def loss_and_gradient(ctc_loss: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        loss = ctc_loss(logits.log_softmax(2), targets, input_lengths, target_lengths)
        return loss.detach(), torch.autograd.grad(loss, logits)[0]

    expected = loss_and_gradient(torch.nn.functional.ctc_loss)
    for backend in ("cpu", "reference"):
        with ctckit.backends.use(backend):  # raises if the core cannot be imported
            torch.testing.assert_close(loss_and_gradient(ctckit.ctc_loss), expected)

    subprocess.run([sys.executable, "-I", "-m", "ctckit"], check=True)
    print(f"wheel: ctckit {importlib.metadata.version('ctckit')} works on Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
