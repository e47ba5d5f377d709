"""What every front end is: a module from waveforms to what a back end reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from zoo.errors import InputError

are_plain: ContextVar[bool] = ContextVar("are_plain", default=False)


@contextmanager
def as_convolutions() -> Iterator[None]:
    """Compute Fourier transforms and convolutions as plain convolutions in this context: PyTorch
    has faster ways for some of them, other runtimes have not."""
    token = are_plain.set(True)
    try:
        yield
    finally:
        are_plain.reset(token)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 proper: no autocast, no TF32 (each breaks decibels by several dB)."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        matmul = torch.backends.cuda.matmul
        before, matmul.allow_tf32 = matmul.allow_tf32, False
        try:
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield
        finally:
            matmul.allow_tf32 = before


class FrontEnd(nn.Module):
    """Waveform `[B,T]` in [-1, 1] to `[B,C,F,N]` (kind `spectrogram`) or `[B,T]` (`waveform`).

    A subclass sets the attributes and writes `compute`. It is finite for silence, forward and
    backward, and computes in float32 whatever surrounds it (backward, TF32 is as PyTorch has it).
    """

    kind: str  # "spectrogram" or "waveform"
    sample_rate: int  # Hz
    num_channels: int  # C
    num_bins: int  # F
    frame_rate: float  # frames a second
    min_samples: int  # the shortest waveform that it takes

    def samples_for(self, frames: int) -> int:
        """Return a number of samples that gives at least that many frames."""
        return max(self.min_samples, int(frames / self.frame_rate * self.sample_rate))

    def compute(self, x_BT: Tensor) -> Tensor:
        """Return the features of a float32 waveform."""
        raise NotImplementedError

    def forward(self, x_BT: Tensor) -> Tensor:
        with full_precision(x_BT.device):
            return self.compute(x_BT.float())

    def forget_frozen_kernels(self) -> None:
        """Keep all buffers out of the state dict: they follow from the arguments."""
        for module in self.modules():
            module._non_persistent_buffers_set.update(module._buffers)


def check_band(f_min: float, f_max: float | None, sample_rate: int) -> float:
    """Return the upper end of a band in Hz, by default half the sample rate.

    Raises `InputError` if the band is empty or does not fit the sample rate.
    """
    f_max = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise InputError(
            f"frontend.f_min={f_min:g} and f_max={f_max:g} must rise and lie between 0 and "
            f"half the sample rate, {sample_rate / 2:g} Hz."
        )
    return f_max
