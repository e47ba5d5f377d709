"""`fcn`: convolutions and pooling until one step is left of the whole clip.

Choi, Fazekas, Sandler 2016, Automatic Tagging Using Deep Convolutional Neural Networks; in the
shapes of the implementation published with Won et al. 2020 (MIT).
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, max_pool, numbered

CHANNELS = (64, 128, 128, 128, 64)
POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))  # bins, frames: 96 x 1813 (29 s) becomes 1 x 1


class ConvBlock(nn.Module):
    """Convolution 3 x 3, batch norm, max pooling, ReLU (it may stand before the pooling)."""

    def __init__(self, num_inputs: int, num_outputs: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.bn = nn.BatchNorm2d(num_outputs)
        self.pool = pool

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return max_pool(self.bn(self.conv(x_BCFN)), self.pool).relu()


class FCN(BackEnd):
    """`[B,C,F,N] -> [B,64]`: five blocks; the mean of what remains where that is several steps."""

    accepts = ("spectrogram",)
    num_features = CHANNELS[-1]
    min_frames = 4 * 4 * 4  # of clips under 20 s, the last two poolings cover what there is
    published = {**numbered(len(CHANNELS)), "dense.": "head."}

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        self.spec_bn = nn.BatchNorm2d(num_channels)
        shapes = zip((num_channels, *CHANNELS), CHANNELS, POOLS, strict=False)
        self.layers = nn.ModuleList(ConvBlock(*shape) for shape in shapes)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.spec_bn(x_BCFN)
        for layer in self.layers:
            x_BCFN = layer(x_BCFN)
        return x_BCFN.mean((2, 3))

    def layer_groups(self) -> list[list[nn.Module]]:
        first, *rest = self.layers
        return [[self.spec_bn, first], *([layer] for layer in rest)]
