"""The networks of PANNs: parameters of table XII, shapes of the blocks, the published layout."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.panns import Cnn6
from zoo.registry import build_named

CLASSES = 527  # of AudioSet: the paper counts the head
FRAMES = 1001  # of 10 s at 32 kHz and a hop of 320
SAMPLES = 320_000


@pytest.mark.parametrize(
    ("name", "bins", "published"),
    [("cnn14", 64, 80_753_615), ("cnn6", 64, 4_837_455), ("res1d", 1, 80_464_463)],
)
def test_parameters(name: str, bins: int, published: int) -> None:
    backend = build_named("model", name, {}, 1, bins)
    head = nn.Linear(backend.num_features, CLASSES)
    assert sum(p.numel() for part in (backend, head) for p in part.parameters()) == published


CNN6 = [(64, 32, 500), (128, 16, 250), (256, 8, 125), (512, 4, 62)]
CNN14 = [*CNN6, (1024, 2, 31), (2048, 2, 31)]
RES1D = [
    *((64, 1, 64_000), (128, 1, 16_000), (256, 1, 4_000), (512, 1, 1_000)),
    *((1024, 1, 250), (1024, 1, 62), (2048, 1, 15)),
]


@pytest.mark.parametrize(
    ("name", "bins", "shape", "published"),
    [
        ("cnn14", 64, (1, 64, FRAMES), CNN14),
        ("cnn6", 64, (1, 64, FRAMES), CNN6),
        ("res1d", 1, (SAMPLES,), RES1D),
    ],
)
def test_shapes_of_blocks(
    name: str, bins: int, shape: tuple[int, ...], published: list[tuple[int, ...]]
) -> None:
    backend = build_named("model", name, {}, 1, bins).eval()
    seen: list[tuple[int, ...]] = []
    for block in getattr(backend, "blocks", None) or backend.stages:
        block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    with torch.no_grad():
        assert backend(torch.randn(1, *shape)).shape == (1, published[-1][0])
    assert seen == published


def published_cnn6(backend: Cnn6, x_BNF: Tensor) -> Tensor:
    """Return the embedding as the published code computes it: time before frequency, batch norm
    over the bins of one channel."""
    bn0 = nn.BatchNorm2d(x_BNF.shape[2])
    bn0.load_state_dict(backend.bn0.state_dict())
    x_BCNF = bn0.eval()(x_BNF[:, None].transpose(1, 3)).transpose(1, 3)
    for block in backend.blocks:
        kernel = block.convs[0].weight.transpose(2, 3)
        x_BCNF = block.bns[0](functional.conv2d(x_BCNF, kernel, padding=2)).relu()
        x_BCNF = functional.avg_pool2d(x_BCNF, 2)
    x_BCN = x_BCNF.mean(3)
    return backend.fc1(x_BCN.max(2)[0] + x_BCN.mean(2)).relu()


def test_cnn6_is_the_published_one_transposed() -> None:
    torch.manual_seed(0)
    backend = Cnn6(1, 64)
    x = 20 * torch.randn(4, 1, 64, 201) - 30
    backend(x)  # moves the running statistics
    with torch.no_grad():
        expected = published_cnn6(backend.eval(), x[:, 0].transpose(1, 2))
        torch.testing.assert_close(backend(x), expected, atol=1e-5, rtol=1e-5)


def test_each_bin_of_each_channel_is_normalised() -> None:
    torch.manual_seed(0)
    backend = Cnn6(2, 5)
    scales = torch.arange(1.0, 11).view(1, 2, 5, 1)
    y = backend.bn0((scales * torch.randn(8, 2, 5, 100) + scales).flatten(1, 2))
    torch.testing.assert_close(y.mean((0, 2)), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std((0, 2)), torch.ones(10), atol=1e-2, rtol=0)
