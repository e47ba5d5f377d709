"""`short_chunk_res`: the short-chunk CNN with residual connections.

Won, Ferraro, Bogdanov, Serra 2020, Evaluation of CNN-based Automatic Music Tagging Models; in the
shapes of the implementation published with it (MIT).
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, numbered

CHANNELS = (128, 128, 256, 256, 256, 256, 512)  # each block halves bins and frames


class ResBlock(nn.Module):
    """Two convolutions 3 x 3, the first with a stride, and a third one around them."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(num_inputs, num_outputs, 3, stride, padding=1)
        self.bn_1 = nn.BatchNorm2d(num_outputs)
        self.conv_2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(num_outputs)
        self.conv_3 = nn.Conv2d(num_inputs, num_outputs, 3, stride, padding=1)
        self.bn_3 = nn.BatchNorm2d(num_outputs)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        inner_BCFN = self.bn_1(self.conv_1(x_BCFN)).relu()
        inner_BCFN = self.bn_2(self.conv_2(inner_BCFN))
        return (inner_BCFN + self.bn_3(self.conv_3(x_BCFN))).relu()


class ShortChunkRes(BackEnd):
    """`[B,C,F,N] -> [B,512]`: seven blocks, the maximum over what remains, a dense layer."""

    accepts = ("spectrogram",)
    num_features = CHANNELS[-1]
    min_frames = 1
    published = {**numbered(len(CHANNELS)), "dense2.": "head."}

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        self.spec_bn = nn.BatchNorm2d(num_channels)
        widths = zip((num_channels, *CHANNELS), CHANNELS, strict=False)
        self.layers = nn.ModuleList(ResBlock(a, b, stride=2) for a, b in widths)
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
