"""`short_chunk_cnn`: a VGG-like network for chunks of a few seconds.

Won, Ferraro, Bogdanov, Serra 2020, Evaluation of CNN-based Automatic Music Tagging Models; in the
shapes of the implementation published with it (MIT).
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, max_pool, numbered

CHANNELS = (128, 128, 256, 256, 256, 256, 512)  # each block halves bins and frames


class ConvBlock(nn.Module):
    """Convolution 3 x 3, batch norm, max pooling 2 x 2, ReLU (it may stand before the pooling)."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.bn = nn.BatchNorm2d(num_outputs)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return max_pool(self.bn(self.conv(x_BCFN)), (2, 2)).relu()


class ShortChunkCNN(BackEnd):
    """`[B,C,F,N] -> [B,512]`: seven blocks, the maximum over what remains, a dense layer."""

    accepts = ("spectrogram",)
    num_features = CHANNELS[-1]
    min_frames = 2 ** len(CHANNELS)  # one step after the last block
    published = {**numbered(len(CHANNELS)), "dense2.": "head."}

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        self.spec_bn = nn.BatchNorm2d(num_channels)
        widths = zip((num_channels, *CHANNELS), CHANNELS, strict=False)
        self.layers = nn.ModuleList(ConvBlock(a, b) for a, b in widths)
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
