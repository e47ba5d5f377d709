"""`res1d`: Res1dNet31 of PANNs, a residual network straight from the waveform.

Kong, Cao, Iqbal, Wang, Wang, Plumbley 2020, PANNs: Large-Scale Pretrained Audio Neural Networks
for Audio Pattern Recognition; in the shapes of the implementation published with it (MIT).
"""

from torch import Tensor, nn
from torch.nn import functional

from zoo.backends.base import BackEnd, conv_bn
from zoo.backends.panns import DENSE_DROPOUT, max_and_mean, xavier

CHANNELS = (64, 128, 256, 512, 1024, 1024, 2048)  # of stages of two blocks
STRIDE, POOL = 5, 4  # of the first convolution; before each stage but the first


class Block(nn.Module):
    """Pooling, two convolutions of three steps, the second dilated; added to the shortcut.

    The published zeros as last batch norm's initial weights are left out: they hold the gradient
    back from all other layers of the branch.
    """

    def __init__(self, num_inputs: int, num_outputs: int, pool: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(num_inputs, num_outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv1d(num_outputs, num_outputs, 3, padding=2, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm2d(num_outputs)
        self.changes = num_inputs != num_outputs or pool > 1
        if self.changes:
            self.shortcut = nn.Conv1d(num_inputs, num_outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(num_outputs)
        self.pool = pool

    def forward(self, x_BC1T: Tensor) -> Tensor:
        y_BC1T = x_BC1T
        if self.pool > 1:
            y_BC1T = functional.max_pool2d(x_BC1T, (1, self.pool))
            x_BC1T = functional.avg_pool2d(x_BC1T, (1, self.pool))
        y_BC1T = self.dropout(conv_bn(self.conv1, self.bn1, y_BC1T).relu())
        if self.changes:
            x_BC1T = conv_bn(self.shortcut, self.bn3, x_BC1T)
        return (conv_bn(self.conv2, self.bn2, y_BC1T) + x_BC1T).relu()


class Res1d(BackEnd):
    """`[B,T] -> [B,2048]`: seven stages, maximum and mean over time added up, a dense layer."""

    accepts = ("waveform",)
    num_features = CHANNELS[-1]
    min_frames = STRIDE * POOL ** (len(CHANNELS) - 1)  # samples for one step: 20,480

    def __init__(self, num_channels: int, num_bins: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(num_channels, 64, 11, stride=STRIDE, padding=5, bias=False)
        self.bn0 = nn.BatchNorm2d(64)
        widths = zip((64, *CHANNELS), CHANNELS, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(a, b, POOL if i else 1, dropout), Block(b, b, 1, dropout))
            for i, (a, b) in enumerate(widths)
        )
        self.dropout = nn.Dropout(DENSE_DROPOUT)
        self.fc1 = nn.Linear(self.num_features, self.num_features)
        self.apply(xavier)

    def forward(self, x_BT: Tensor) -> Tensor:
        x_BC1T = conv_bn(self.conv0, self.bn0, x_BT[:, None, None])
        for stage in self.stages:
            x_BC1T = stage(x_BC1T)
        return self.fc1(self.dropout(max_and_mean(x_BC1T.squeeze(2)))).relu()

    def layer_groups(self) -> list[list[nn.Module]]:
        return [[self.conv0, self.bn0], *([stage] for stage in self.stages), [self.fc1]]
