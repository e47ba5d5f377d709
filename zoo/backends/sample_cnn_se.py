"""`sample_cnn_se`: the sample-level CNN with residual connections and squeeze-and-excitation.

Kim, Lee, Nam 2018, Sample-level CNN Architectures for Music Auto-tagging Using Raw Waveforms; in
the shapes of the implementation published with Won et al. 2020 (MIT).
"""

from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.base import BackEnd, conv_bn, numbered

CHANNELS = (128, 128, 256, 256, 256, 256, 256, 256, 512)  # each block leaves a third of the steps


class Block(nn.Module):
    """Two convolutions, squeeze-and-excitation, residual connection, max pooling.

    Where steps or channels change, the residual connection is a convolution too.
    """

    def __init__(self, num_inputs: int, num_outputs: int, size: int, stride: int, pool: int):
        super().__init__()
        self.conv_1 = nn.Conv1d(num_inputs, num_outputs, size, stride, padding=size // 2)
        self.bn_1 = nn.BatchNorm2d(num_outputs)
        self.conv_2 = nn.Conv1d(num_outputs, num_outputs, size, padding=size // 2)
        self.bn_2 = nn.BatchNorm2d(num_outputs)
        self.dense1 = nn.Linear(num_outputs, num_outputs)
        self.dense2 = nn.Linear(num_outputs, num_outputs)
        self.changes = stride > 1 or num_inputs != num_outputs
        if self.changes:
            self.conv_3 = nn.Conv1d(num_inputs, num_outputs, size, stride, padding=size // 2)
            self.bn_3 = nn.BatchNorm2d(num_outputs)
        self.pool = pool

    def excite(self, x_BC1T: Tensor) -> Tensor:
        """Weigh each channel by what all channels are on average.

        The average is a product of matrices, whose gradient is in memory channels-last.
        """
        x_BTC = x_BC1T.squeeze(2).transpose(1, 2)
        shares_B1T = x_BTC.new_full((1, 1, x_BTC.shape[1]), 1 / x_BTC.shape[1])
        mean_BC = (shares_B1T.expand(x_BTC.shape[0], -1, -1) @ x_BTC).squeeze(1)
        weight_BC = self.dense2(self.dense1(mean_BC).relu()).sigmoid()
        return x_BC1T * weight_BC[:, :, None, None]

    def forward(self, x_BC1T: Tensor) -> Tensor:
        inner_BC1T = conv_bn(self.conv_1, self.bn_1, x_BC1T).relu()
        inner_BC1T = self.excite(conv_bn(self.conv_2, self.bn_2, inner_BC1T))
        if self.changes:
            x_BC1T = conv_bn(self.conv_3, self.bn_3, x_BC1T)
        x_BC1T = x_BC1T + inner_BC1T
        if self.pool > 1:
            x_BC1T = functional.max_pool2d(x_BC1T, (1, self.pool))
        return x_BC1T.relu()


class SampleCNNSE(BackEnd):
    """`[B,T] -> [B,512]`: eleven blocks, the mean over what remains, a dense layer."""

    accepts = ("waveform",)
    num_features = CHANNELS[-1]
    min_frames = 3 ** (1 + len(CHANNELS))  # samples for one step: 59,049, at 16 kHz 3.7 s
    published = {**numbered(len(CHANNELS) + 2), "dense2.": "head."}

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        widths = zip((128, *CHANNELS), CHANNELS, strict=False)
        self.layers = nn.ModuleList(
            [
                Block(num_channels, 128, size=3, stride=3, pool=1),
                *(Block(a, b, size=3, stride=1, pool=3) for a, b in widths),
                Block(512, 512, size=1, stride=1, pool=1),
            ]
        )
        self.dense1 = nn.Linear(self.num_features, self.num_features)
        self.bn = nn.BatchNorm1d(self.num_features)

    def forward(self, x_BT: Tensor) -> Tensor:
        x_BC1T = x_BT[:, None, None]
        for layer in self.layers:
            x_BC1T = layer(x_BC1T)
        return self.bn(self.dense1(x_BC1T.mean((2, 3)))).relu()

    def layer_groups(self) -> list[list[nn.Module]]:
        return [*([layer] for layer in self.layers), [self.dense1, self.bn]]
