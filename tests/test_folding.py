"""Batch norms in the weights of convolutions: the same numbers, and the model stays as it was."""

import pytest
import torch
from torch import nn

from zoo import create_model
from zoo.folding import NORMS, folded
from zoo.model import GenreModel
from zoo.registry import choices

LEFT = {"cnn14": 1, "cnn6": 1, "crnn": 1, "fcn": 1, "musicnn": 4, "short_chunk_cnn": 2}
LEFT |= {"harmonic_cnn": 2, "self_attention": 1, "short_chunk_res": 2, "conformer": 1}


def seasoned(name: str) -> GenreModel:
    """Return a model whose batch norms do something."""
    model = create_model(name, num_classes=5).eval()
    for norm in filter(lambda module: isinstance(module, NORMS), model.modules()):
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2)
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
    return model


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, NORMS) for module in model.modules())


@pytest.mark.parametrize("name", choices("model"))
@torch.no_grad()
def test_the_numbers_are_the_same(name):
    model = seasoned(name)
    before = num_norms(model)
    lighter = folded(model)
    x_BT = torch.randn(2, max(model.min_samples, 32_000)) / 5
    torch.testing.assert_close(lighter(x_BT), model(x_BT), atol=1e-5, rtol=1e-4)
    assert num_norms(model) == before
    assert num_norms(lighter) == LEFT.get(name, before)


class Residual(nn.Module):
    """Adds what a batch norm makes of a convolution to what it made itself."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

    def forward(self, x_BCFN: torch.Tensor) -> torch.Tensor:
        y_BCFN = self.convolution(x_BCFN)
        return y_BCFN + self.norm(y_BCFN)


@torch.no_grad()
def test_what_somebody_else_needs_is_left_alone(monkeypatch):
    model = create_model("linear", num_classes=5).eval()
    residual = Residual().eval()
    residual.norm.running_var.fill_(4.0)
    forward = model.backend.forward
    model.backend.residual = residual
    monkeypatch.setattr(
        type(model.backend), "forward", lambda self, x: forward(10 * self.residual(x)), raising=True
    )
    assert folded(model) is model
