"""`cnn14` and `cnn6`: the VGG-like and the AlexNet-like network of PANNs.

Kong, Cao, Iqbal, Wang, Wang, Plumbley 2020, PANNs: Large-Scale Pretrained Audio Neural Networks
for Audio Pattern Recognition; in the shapes of the implementation published with it (MIT), which
holds time before frequency: its kernels are ours transposed.
"""

from torch import Tensor, nn

from zoo.backends.base import BackEnd, avg_pool

DENSE_DROPOUT = 0.5  # before the dense layer


class ConvBlock(nn.Module):
    """Convolutions with batch norm and ReLU, average pooling, dropout."""

    def __init__(
        self, num_inputs: int, num_outputs: int, depth: int, size: int, pool: int, dropout: float
    ) -> None:
        super().__init__()
        widths = [num_inputs, *[num_outputs] * depth]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, num_outputs, size, padding=size // 2, bias=False) for a in widths[:-1]
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(num_outputs) for _ in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.pool = pool

    def forward(self, x_BCFN: Tensor) -> Tensor:
        for conv, bn in zip(self.convs, self.bns, strict=True):
            x_BCFN = bn(conv(x_BCFN)).relu()
        if self.pool > 1:
            x_BCFN = avg_pool(x_BCFN, (self.pool, self.pool))
        return self.dropout(x_BCFN)


class PANN(BackEnd):
    """`[B,C,F,N] -> [B,D]`: batch norm of each bin, blocks, the mean over frequency, of which
    maximum and mean over time are added up, a dense layer."""

    accepts = ("spectrogram",)
    channels: tuple[int, ...]  # of each block
    pools: tuple[int, ...]  # of each block, in frequency and time
    depth: int  # convolutions in a block
    size: int  # of their kernels

    def __init__(self, num_channels: int, num_bins: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.num_features = self.channels[-1]
        self.bn0 = nn.BatchNorm1d(num_channels * num_bins)
        shapes = zip((num_channels, *self.channels), self.channels, self.pools, strict=False)
        self.blocks = nn.ModuleList(
            ConvBlock(a, b, self.depth, self.size, pool, dropout) for a, b, pool in shapes
        )
        self.dropout = nn.Dropout(DENSE_DROPOUT)
        self.fc1 = nn.Linear(self.num_features, self.num_features)
        self.apply(xavier)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BCFN = self.bn0(x_BCFN.flatten(1, 2)).view_as(x_BCFN)
        for block in self.blocks:
            x_BCFN = block(x_BCFN)
        return self.fc1(self.dropout(max_and_mean(x_BCFN.mean(2)))).relu()

    def layer_groups(self) -> list[list[nn.Module]]:
        first, *rest = self.blocks
        return [[self.bn0, first], *([block] for block in rest), [self.fc1]]


class Cnn14(PANN):
    """Twelve convolutions 3 x 3 and the dense layer (the paper counts the head as well)."""

    channels = (64, 128, 256, 512, 1024, 2048)
    pools = (2, 2, 2, 2, 2, 1)
    depth = 2
    size = 3
    min_frames = 2**5  # one step


class Cnn6(PANN):
    """Four convolutions 5 x 5 and the dense layer (the paper counts the head as well)."""

    channels = (64, 128, 256, 512)
    pools = (2, 2, 2, 2)
    depth = 1
    size = 5
    min_frames = 2**4  # one step


def max_and_mean(x_BDN: Tensor) -> Tensor:
    """Add up maximum and mean over time."""
    return x_BDN.amax(-1) + x_BDN.mean(-1)


def xavier(module: nn.Module) -> None:
    """Initialise convolutions and dense layers as published."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
