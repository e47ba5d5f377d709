"""Speed of every model: clips a second, against a plain implementation, and in every form."""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from benchmarks.speed_training import batch_of, device, in_form, step
from benchmarks.timing import Ratio, Work, in_turn, times_as_fast
from zoo import create_model, runtime
from zoo.backends import musicnn, sample_cnn, sample_cnn_se
from zoo.frontends.base import FrontEnd
from zoo.frontends.mel import Mel
from zoo.model import GenreModel

WITH_REFERENCE = (  # what Won et al. 2020 published an implementation of
    "crnn",
    "fcn",
    "harmonic_cnn",
    "musicnn",
    "sample_cnn",
    "sample_cnn_se",
    "self_attention",
    "short_chunk_cnn",
    "short_chunk_res",
)
BATCH = 8
ROUNDS = 3


class PlainMel(FrontEnd):
    """torchaudio's mel spectrogram in decibels, as the published implementation has it."""

    def __init__(self, mel: Mel) -> None:
        super().__init__()
        self.sample_rate, self.min_samples = mel.sample_rate, mel.min_samples
        self.num_bins, self.frame_rate = mel.num_bins, mel.frame_rate
        self.mel = MelSpectrogram(
            mel.sample_rate, len(mel.window), hop_length=mel.hop_length, n_mels=mel.num_bins
        )
        self.decibels = AmplitudeToDB()

    def compute(self, x_BT: Tensor) -> Tensor:
        return self.decibels(self.mel(x_BT)).unsqueeze(1)


def norm(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply a batch norm to an input of any number of dimensions."""
    mean, variance = bn.running_mean, bn.running_var
    return functional.batch_norm(x, mean, variance, bn.weight, bn.bias, bn.training, eps=bn.eps)


class PlainTimbral(nn.Module):
    """The tall filters of `musicnn` as two-dimensional convolutions."""

    def __init__(self, block: musicnn.Timbral) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BCFN: Tensor) -> Tensor:
        return self.block.bn(self.block.conv(x_BCFN)).relu().amax(2)


class PlainSample(nn.Module):
    """A block of `sample_cnn` in one dimension."""

    def __init__(self, block: sample_cnn.ConvBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BC1T: Tensor) -> Tensor:
        x_BCT = norm(self.block.bn, self.block.conv(x_BC1T.squeeze(2))).relu()
        return functional.max_pool1d(x_BCT, self.block.pool).unsqueeze(2)


class PlainSampleSE(nn.Module):
    """A block of `sample_cnn_se` in one dimension."""

    def __init__(self, block: sample_cnn_se.Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BC1T: Tensor) -> Tensor:
        block, x_BCT = self.block, x_BC1T.squeeze(2)
        inner_BCT = norm(block.bn_1, block.conv_1(x_BCT)).relu()
        inner_BCT = norm(block.bn_2, block.conv_2(inner_BCT))
        weight_BC = block.dense2(block.dense1(inner_BCT.mean(-1)).relu()).sigmoid()
        if block.changes:
            x_BCT = norm(block.bn_3, block.conv_3(x_BCT))
        x_BCT = (x_BCT + inner_BCT * weight_BC[:, :, None]).relu()
        return functional.max_pool1d(x_BCT, block.pool).unsqueeze(2)


PLAIN: dict[type, Callable[[Any], nn.Module]] = {
    Mel: PlainMel,
    musicnn.Timbral: PlainTimbral,
    sample_cnn.ConvBlock: PlainSample,
    sample_cnn_se.Block: PlainSampleSE,
}


def make_plain(module: nn.Module) -> None:
    """Put plain implementations of what is written for speed into a model."""
    for name, child in module.named_children():
        if type(child) in PLAIN:
            setattr(module, name, PLAIN[type(child)](child))
        else:
            make_plain(child)


class Pair(NamedTuple):
    """What is timed: a training step, and scoring a batch."""

    train: Work
    infer: Work


def forms(name: str) -> tuple[tuple[bool, str], tuple[bool, str]]:
    """Return (channels-last, precision): the model's own here, and the plain one."""
    backend = create_model(name).backend
    precision = runtime.choose_precision("auto", backend.precision, device())
    return (backend.channels_last, precision), (False, "fp32")


def pair(model: GenreModel, channels_last: bool, precision: str) -> Pair:
    """Return a training step and the scoring of a batch in a layout and a precision."""
    autocast = in_form(model, channels_last, precision)
    x_BT, y_B = batch_of(model, BATCH)
    take = step(model, autocast)

    def infer() -> None:
        with torch.inference_mode(), autocast():
            model.eval()(x_BT)

    return Pair(lambda: take(x_BT, y_B), infer)


def ours(name: str) -> Pair:
    """Return the work of a model as it is trained here."""
    return pair(create_model(name, num_classes=8), *forms(name)[0])


def plain(name: str) -> Pair:
    """Return that of a plain implementation: float32, contiguous, torchaudio's mel inside."""
    model = create_model(name, num_classes=8)
    make_plain(model)
    return pair(model, *forms(name)[1])


def clips_per_second(name: str) -> tuple[Ratio, Ratio]:
    """Return clips a second in training and in scoring."""
    times = in_turn(*ours(name), rounds=ROUNDS)
    train, infer = (Ratio(tuple(BATCH / t for t in column)) for column in zip(*times, strict=True))
    return train, infer


def against_plain(name: str) -> tuple[Ratio, Ratio]:
    """Return how many times as fast as plain the model is, in training and in scoring."""
    pairs = zip(ours(name), plain(name), strict=True)
    train, infer = (times_as_fast(*works, rounds=ROUNDS) for works in pairs)
    return train, infer


def fastest_form(name: str) -> tuple[str, Ratio]:
    """Return the fastest layout and precision of training, and its time over that of the one
    which the model names."""
    precisions = ("fp32", "bf16") if runtime.computes_bf16(device()) else ("fp32",)
    every = [*product((False, True), precisions)]
    works = [pair(create_model(name, num_classes=8), *form).train for form in every]
    times = in_turn(*works, rounds=ROUNDS)
    own = every.index(forms(name)[0])
    medians = [sorted(column)[ROUNDS // 2] for column in zip(*times, strict=True)]
    best = medians.index(min(medians))
    layout, precision = every[best]
    label = f"{precision}, {'channels-last' if layout else 'contiguous'}"
    return label, Ratio(tuple(row[best] / row[own] for row in times))
