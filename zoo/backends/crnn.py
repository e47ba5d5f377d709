"""`crnn`: convolutions for timbre, a recurrent network for time.

Choi, Fazekas, Sandler, Cho 2017, Convolutional Recurrent Neural Networks for Music
Classification; in the shapes of the implementation published with Won et al. 2020 (MIT).
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, max_pool


class ConvBlock(nn.Module):
    """Convolution 3 x 3, batch norm, ReLU, max pooling, dropout.

    The ReLU comes after the pooling here: the same numbers on a quarter of them or fewer.
    """

    def __init__(self, num_inputs: int, num_outputs: int, pool: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.bn = nn.BatchNorm2d(num_outputs)
        self.dropout = nn.Dropout(dropout)
        self.pool = pool

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = max_pool(self.bn(self.conv(x_BCFN)), (self.pool, self.pool))
        return self.dropout(x_BCFN.relu())


class CRNN(BackEnd):
    """`[B,C,F,N] -> [B,32]`: the last state of a two-layer GRU over pooled frames."""

    accepts = ("spectrogram",)
    num_features = 32
    min_frames = 2 * 3 * 4 * 4  # one step of the GRU
    published = {"dense.": "head."}

    def __init__(self, num_channels: int, num_bins: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.spec_bn = nn.BatchNorm2d(num_channels)
        self.layer1 = ConvBlock(num_channels, 64, 2, dropout)
        self.layer2 = ConvBlock(64, 128, 3, dropout)
        self.layer3 = ConvBlock(128, 128, 4, dropout)
        self.layer4 = ConvBlock(128, 128, 4, dropout)
        self.layer5 = nn.GRU(128, self.num_features, num_layers=2, batch_first=True)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.spec_bn(x_BCFN)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x_BCFN = layer(x_BCFN)
        x_BND = x_BCFN.mean(2).transpose(1, 2)  # 96 bins have been pooled to one
        states_BND, _ = self.layer5(x_BND)
        return states_BND[:, -1]

    def layer_groups(self) -> list[list[nn.Module]]:
        first = [self.spec_bn, self.layer1]
        return [first, [self.layer2], [self.layer3], [self.layer4], [self.layer5]]
