"""`linear`: the baseline. What the average spectrum alone tells about genre."""

import torch
from torch import Tensor, nn

from zoo.backends.base import BackEnd


class Linear(BackEnd):
    """`[B,C,F,N] -> [B,2CF]`: mean and deviation over time of each bin, normalised by batch norm.

    The head's linear layer is all that learns.
    """

    accepts = ("spectrogram",)
    min_frames = 2  # a deviation

    def __init__(self, num_channels: int, num_bins: int) -> None:
        super().__init__()
        self.num_features = 2 * num_channels * num_bins
        self.norm = nn.BatchNorm1d(self.num_features, affine=False)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        x_BFN = x_BCFN.float().flatten(1, 2)
        variance_BF, mean_BF = torch.var_mean(x_BFN, dim=-1, correction=0)
        return self.norm(torch.cat([mean_BF, (variance_BF + 1e-5).sqrt()], dim=1))

    def layer_groups(self) -> list[list[nn.Module]]:
        return []
