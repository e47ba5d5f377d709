"""`harmonic_cnn`: convolutions over harmonics, which the front end `harmonic` stacks as channels.

Won, Chun, Nieto, Serra 2020, Data-driven Harmonic Filters for Audio Representation Learning; in the
shapes of the implementation published with Won et al. 2020 (MIT).
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, max_pool, numbered

HALF, THIRD = (2, 2), (2, 3)  # poolings: bins, frames


class ConvBlock(nn.Module):
    """Convolution 3 x 3, batch norm, max pooling 2 x 2, ReLU (it may stand before the pooling)."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.bn = nn.BatchNorm2d(num_outputs)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return max_pool(self.bn(self.conv(x_BCFN)), HALF).relu()


class ResBlock(nn.Module):
    """Two convolutions 3 x 3 around which the input is added, max pooling."""

    def __init__(self, width: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn_1 = nn.BatchNorm2d(width)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(width)
        self.pool = pool

    def forward(self, x_BCFN: Tensor) -> Tensor:
        inner_BCFN = self.bn_1(self.conv_1(x_BCFN)).relu()
        inner_BCFN = self.bn_2(self.conv_2(inner_BCFN))
        return max_pool(x_BCFN + inner_BCFN, self.pool).relu()


class HarmonicCNN(BackEnd):
    """`[B,C,F,N] -> [B,256]`: seven blocks, the maximum over what remains, a dense layer."""

    accepts = ("spectrogram",)
    num_features = 256
    min_frames = 2**5  # of clips under 5 s, the last two poolings cover what there is
    published = {
        **numbered(7),
        "hstft.bw_Q": "frontend.q",
        "hstft_bn.": "backend.spec_bn.",
        "dense2.": "head.",
    }

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        self.spec_bn = nn.BatchNorm2d(num_channels)
        self.layers = nn.ModuleList(
            [
                ConvBlock(num_channels, 128),
                *(ResBlock(128, HALF) for _ in range(3)),
                ConvBlock(128, 256),
                *(ResBlock(256, THIRD) for _ in range(2)),
            ]
        )
        self.dense1 = nn.Linear(self.num_features, self.num_features)
        self.bn = nn.BatchNorm1d(self.num_features)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.spec_bn(x_BCFN)
        for layer in self.layers:
            x_BCFN = layer(x_BCFN)
        return self.bn(self.dense1(x_BCFN.amax((2, 3)))).relu()

    def layer_groups(self) -> list[list[nn.Module]]:
        first, *rest = self.layers
        return [[self.spec_bn, first], *([layer] for layer in rest), [self.dense1, self.bn]]
