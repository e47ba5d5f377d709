"""What every back end is: a module from a front end's output to one vector a clip."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional


class BackEnd(nn.Module):
    """Front end's output to `[B,D]`. A subclass takes `num_channels` and `num_bins` first."""

    accepts: tuple[str, ...]  # kinds of front ends
    num_features: int  # D
    min_frames: int  # frames (samples, for a waveform) that give at least one step in time
    channels_last = True  # the faster memory layout
    precision = "bf16"  # the faster precision, where the device computes it natively
    published: Mapping[str, str] | None = None
    """How names of tensors begin in files of published weights, and in GenreModel; what is not in
    it begins with `backend.` here and with nothing there. None: there are no such files."""

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return all modules that have parameters, in groups from input to output."""
        raise NotImplementedError


def numbered(count: int) -> dict[str, str]:
    """Return the names of `published` for layers that are numbered there and a list here."""
    return {f"layer{i + 1}.": f"backend.layers.{i}." for i in range(count)}


def max_pool(x_BCFN: Tensor, size: tuple[int, int]) -> Tensor:
    """Max pooling with the kernel clipped to what remains, so that any input size fits."""
    bins, frames = x_BCFN.shape[-2:]
    return functional.max_pool2d(x_BCFN, (min(size[0], bins), min(size[1], frames)))


def avg_pool(x_BCFN: Tensor, size: tuple[int, int]) -> Tensor:
    """Average pooling, clipped like `max_pool`."""
    bins, frames = x_BCFN.shape[-2:]
    return functional.avg_pool2d(x_BCFN, (min(size[0], bins), min(size[1], frames)))
