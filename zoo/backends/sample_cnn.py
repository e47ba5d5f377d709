"""`sample_cnn`: convolutions of three samples, straight from the waveform.

Lee, Park, Kim, Nam 2017, Sample-level Deep Convolutional Neural Networks for Music Auto-tagging
Using Raw Waveforms; in the shapes of the implementation published with Won et al. 2020 (MIT).
"""

from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.base import BackEnd, conv_bn, numbered

CHANNELS = (128, 128, 256, 256, 256, 256, 256, 256, 512)  # each block leaves a third of the steps


class ConvBlock(nn.Module):
    """Convolution over time, batch norm, max pooling, ReLU (it may stand before the pooling)."""

    def __init__(self, num_inputs: int, num_outputs: int, size: int, stride: int, pool: int):
        super().__init__()
        self.conv = nn.Conv1d(num_inputs, num_outputs, size, stride, padding=size // 2)
        self.bn = nn.BatchNorm2d(num_outputs)
        self.pool = pool

    def forward(self, x_BC1T: Tensor) -> Tensor:
        x_BC1T = conv_bn(self.conv, self.bn, x_BC1T)
        if self.pool > 1:
            x_BC1T = functional.max_pool2d(x_BC1T, (1, self.pool))
        return x_BC1T.relu()


class SampleCNN(BackEnd):
    """`[B,T] -> [B,512]`: eleven blocks; the mean over time where the clip leaves several steps."""

    accepts = ("waveform",)
    num_features = CHANNELS[-1]
    min_frames = 3 ** (1 + len(CHANNELS))  # samples for one step: 59,049, at 16 kHz 3.7 s
    published = {**numbered(len(CHANNELS) + 2), "dense.": "head."}

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        widths = zip((128, *CHANNELS), CHANNELS, strict=False)
        self.layers = nn.ModuleList(
            [
                ConvBlock(num_channels, 128, size=3, stride=3, pool=1),
                *(ConvBlock(a, b, size=3, stride=1, pool=3) for a, b in widths),
                ConvBlock(512, 512, size=1, stride=1, pool=1),
            ]
        )

    def forward(self, x_BT: Tensor) -> Tensor:
        x_BC1T = x_BT[:, None, None]
        for layer in self.layers:
            x_BC1T = layer(x_BC1T)
        return x_BC1T.mean((2, 3))

    def layer_groups(self) -> list[list[nn.Module]]:
        return [[layer] for layer in self.layers]
