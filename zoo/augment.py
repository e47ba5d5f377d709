"""Augmentation of a batch, on the device where it is: of waveforms, targets and spectrograms.

All draws come from torch's global generator, which training seeds by (seed, epoch, step).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """What `augment` in the configuration says."""

    mixup: float = 0.0  # alpha of the beta distribution; 0: off
    gain_db: float = 0.0
    time_shift: float = 0.0  # share of the clip
    time_masks: int = 0
    time_mask: float = 0.0  # share of the frames
    freq_masks: int = 0
    freq_mask: float = 0.0  # share of the bins

    def waveform(self, x_BT: Tensor, target_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return shifted, scaled and mixed waveforms and their mixed targets."""
        if self.time_shift:
            x_BT = shift(x_BT, self.time_shift)
        if self.gain_db:
            db_B1 = self.gain_db * (2 * torch.rand(len(x_BT), 1, device=x_BT.device) - 1)
            x_BT = x_BT * 10 ** (db_B1 / 20)
        if self.mixup:
            x_BT, target_BK = mix(x_BT, target_BK, self.mixup)
        return x_BT, target_BK

    def spectrogram(self, x_BCFN: Tensor) -> Tensor:
        """Return the spectrogram with random bands of bins and frames set to its mean."""
        if x_BCFN.ndim != 4 or not (self.time_masks or self.freq_masks):
            return x_BCFN
        batch, _, bins, frames = x_BCFN.shape
        bins_BF = bands(batch, bins, self.freq_masks, self.freq_mask, x_BCFN.device)
        times_BN = bands(batch, frames, self.time_masks, self.time_mask, x_BCFN.device)
        hidden = bins_BF[:, None, :, None] | times_BN[:, None, None, :]
        return torch.where(hidden, x_BCFN.mean((2, 3), keepdim=True), x_BCFN)


def shift(x_BT: Tensor, share: float) -> Tensor:
    """Shift each waveform around its end by a random part of `share` of its length."""
    batch, samples = x_BT.shape
    offsets = (torch.rand(batch) * share * samples).long()  # on the CPU, which needs no waiting
    return torch.stack([x.roll(int(n)) for x, n in zip(x_BT, offsets.tolist(), strict=True)])


def mix(x_BT: Tensor, target_BK: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each clip with another one (mixup, Zhang et al. 2018), the own share being the larger."""
    share = torch.distributions.Beta(alpha, alpha).sample((len(x_BT), 1)).to(x_BT.device)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(x_BT), device=x_BT.device)
    mixed = share * x_BT + (1 - share) * x_BT[other]
    return mixed, share * target_BK + (1 - share) * target_BK[other]


def bands(batch: int, size: int, num_masks: int, largest: float, device: torch.device) -> Tensor:
    """Return `[B,size]`, true inside random bands of up to `largest` of the size each."""
    width = torch.rand(batch, num_masks, 1, device=device) * largest * size
    start = torch.rand(batch, num_masks, 1, device=device) * (size - width)
    place = torch.arange(size, device=device)
    return ((place >= start.floor()) & (place < (start + width).floor())).any(1)
