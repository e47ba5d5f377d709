"""`musicnn`: filters as tall as timbres and as long as rhythms, then a small network over time.

Pons, Nieto, Prockup, Schmidt, Ehmann, Serra 2018, End-to-end Learning for Music Audio Tagging at
Scale; in the shapes of the implementation published with Won et al. 2020 (MIT).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.base import BackEnd, conv_bn
from zoo.frontends.base import are_plain

HEIGHTS = (0.7, 0.4)  # of the timbral filters, as shares of the bins
LENGTHS = (129, 65, 33)  # of the temporal filters, in frames
TIMBRAL, TEMPORAL = 204, 51  # filters of each size


class Timbral(nn.Module):
    """Tall convolution, batch norm, maximum over the bins, ReLU (it may stand before that).

    The filters read a few tall columns. Each window of bins taken as channels, the same numbers
    come from a convolution over time alone, several times as fast in PyTorch.
    """

    def __init__(self, num_inputs: int, height: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, TIMBRAL, (height, 7), padding=(0, 3))
        self.bn = nn.BatchNorm2d(TIMBRAL)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        if are_plain.get():
            x_BDPN = self.bn(self.conv(x_BCFN)).relu()
            return functional.max_pool2d(x_BDPN, (x_BDPN.shape[2], 1)).squeeze(2)
        windows_BCPNF = x_BCFN.unfold(2, self.conv.kernel_size[0], 1)
        x_BDPN = windows_BCPNF.permute(0, 1, 4, 2, 3).flatten(1, 2)
        x_BDPN = x_BDPN.contiguous(memory_format=torch.channels_last)
        x_BDPN = conv_bn(self.conv, self.bn, x_BDPN, self.conv.weight.flatten(1, 2))
        return functional.max_pool2d(x_BDPN, (x_BDPN.shape[2], 1)).squeeze(2).relu()


class Block(nn.Module):
    """Convolution over time, batch norm, ReLU."""

    def __init__(self, num_inputs: int, num_outputs: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(num_inputs, num_outputs, length, padding=length // 2)
        self.bn = nn.BatchNorm1d(num_outputs)

    def forward(self, x_BCN: Tensor) -> Tensor:
        return self.bn(self.conv(x_BCN)).relu()


class Musicnn(BackEnd):
    """`[B,C,F,N] -> [B,features]`: maximum and mean over time of all layers, a dense layer.

    Published for MagnaTagATune and MTG-Jamendo with the defaults; the code has 512 channels in the
    layers over time and 500 features for the Million Song Dataset.
    """

    accepts = ("spectrogram",)
    min_frames = 1
    published = {"layers.": "backend.filters.", "dense2.": "head."}

    def __init__(
        self, num_channels: int, num_bins: int, channels: int = 64, features: int = 200
    ) -> None:
        super().__init__()
        self.num_features = features
        self.spec_bn = nn.BatchNorm2d(num_channels)
        timbral = (Timbral(num_channels, max(1, int(share * num_bins))) for share in HEIGHTS)
        temporal = (Block(num_channels, TEMPORAL, length) for length in LENGTHS)
        self.filters = nn.ModuleList([*timbral, *temporal])
        width = TIMBRAL * len(HEIGHTS) + TEMPORAL * len(LENGTHS)
        self.layer1 = Block(width, channels, 7)
        self.layer2 = Block(channels, channels, 7)
        self.layer3 = Block(channels, channels, 7)
        self.dense1 = nn.Linear(2 * (width + 3 * channels), features)
        self.bn = nn.BatchNorm1d(features)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.spec_bn(x_BCFN)
        timbral, temporal = self.filters[: len(HEIGHTS)], self.filters[len(HEIGHTS) :]
        mean_BCN = x_BCFN.mean(2)
        parts = [*(tall(x_BCFN) for tall in timbral), *(long(mean_BCN) for long in temporal)]
        x_BCN = torch.cat(parts, dim=1)
        first_BCN = self.layer1(x_BCN)
        second_BCN = self.layer2(first_BCN) + first_BCN
        third_BCN = self.layer3(second_BCN) + second_BCN
        x_BCN = torch.cat([x_BCN, first_BCN, second_BCN, third_BCN], dim=1)
        x_BD = torch.cat([x_BCN.amax(-1), x_BCN.mean(-1)], dim=1)
        return self.bn(self.dense1(x_BD)).relu()

    def layer_groups(self) -> list[list[nn.Module]]:
        first = [self.spec_bn, self.filters]
        return [first, [self.layer1], [self.layer2], [self.layer3], [self.dense1, self.bn]]
