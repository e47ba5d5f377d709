"""`compression`: from the power of a spectrogram to what a network can read.

Each is a module from power `[B,F,N]` (not negative) to `[B,F,N]`, with finite gradients at 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import check_choice

FLOOR = 1e-10  # of power: -100 dB
LOG_OFFSET = 1e-6
LOG1P_FACTOR = 10_000.0


class Decibels(nn.Module):
    """10 log10 with a floor of 1e-10, below which the gradient is 0."""

    def forward(self, power_BFN: Tensor) -> Tensor:
        return 10.0 * power_BFN.clamp(min=FLOOR).log10()


class Log(nn.Module):
    """Natural logarithm of power + 1e-6."""

    def forward(self, power_BFN: Tensor) -> Tensor:
        return (power_BFN + LOG_OFFSET).log()


class Log1p(nn.Module):
    """log(1 + 10,000 power): Dieleman, Schrauwen 2014, End-to-end Learning for Music Audio."""

    def forward(self, power_BFN: Tensor) -> Tensor:
        return (LOG1P_FACTOR * power_BFN).log1p()


class PCEN(nn.Module):
    """Per-channel energy normalisation, (E / (eps + M)^alpha + delta)^r - delta^r.

    Wang, Getreuer, Hughes, Lyon, Saurous 2017, Trainable Frontend for Robust and Far-field Keyword
    Spotting. M is the energy E smoothed over time with the coefficient s. As in that paper alpha,
    delta and r are trainable for each bin and kept positive as exponentials; as in LEAF s is
    trainable too, as the logistic function of a logit.
    """

    def __init__(
        self,
        num_bins: int,
        s: float,
        alpha: float = 0.98,
        delta: float = 2.0,
        r: float = 0.5,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.logit_s = nn.Parameter(torch.full((num_bins,), s).logit())
        self.log_alpha = nn.Parameter(torch.full((num_bins,), alpha).log())
        self.log_delta = nn.Parameter(torch.full((num_bins,), delta).log())
        self.log_r = nn.Parameter(torch.full((num_bins,), r).log())

    def forward(self, power_BFN: Tensor) -> Tensor:
        s_F1 = self.logit_s.sigmoid()[:, None]
        logs = (self.log_alpha, self.log_delta, self.log_r)
        alpha_F1, delta_F1, r_F1 = (log.exp()[:, None] for log in logs)
        gained_BFN = power_BFN / (self.eps + smooth(power_BFN, s_F1)) ** alpha_F1
        return (gained_BFN + delta_F1) ** r_F1 - delta_F1**r_F1


def smooth(x_BFN: Tensor, s_F1: Tensor) -> Tensor:
    """Return M with M[n] = s x[n] + (1 - s) M[n - 1] and M[0] = x[0].

    M[n] is a sum over all earlier frames. It is built by doubling: what covers k frames, and the
    same from k frames earlier, cover 2 k. That takes 10 steps for 1,000 frames, adds only what is
    not negative, and has exact gradients.
    """
    frames = x_BFN.shape[-1]
    y_BFN = torch.cat([x_BFN[..., :1], s_F1 * x_BFN[..., 1:]], dim=-1)
    covered, decay_F1 = 1, 1 - s_F1
    while covered < frames:
        y_BFN = y_BFN + decay_F1 * functional.pad(y_BFN[..., :-covered], (covered, 0))
        covered, decay_F1 = 2 * covered, decay_F1.square()
    return y_BFN


def make_compression(name: str, num_bins: int, frame_rate: float) -> nn.Module:
    """Return the compression of that name; raises `InputError` for an unknown one.

    PCEN starts with the time constant of its paper, s = 0.025 at 100 frames a second.
    """
    check_choice("frontend.compression", name, ("db", "log", "log1p", "pcen"))
    if name == "pcen":
        return PCEN(num_bins, s=1 - (1 - 0.025) ** (100 / frame_rate))
    return {"db": Decibels, "log": Log, "log1p": Log1p}[name]()
