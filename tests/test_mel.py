"""The mel front end against librosa, torchaudio, and itself in its other engine."""

import librosa
import numpy as np
import pytest
import torch
import torchaudio

from zoo.datasets import synth
from zoo.datasets.synth_score import render
from zoo.errors import InputError
from zoo.frontends.mel import Mel

RATE = 16_000


@pytest.fixture(scope="module")
def waveforms() -> torch.Tensor:
    """Music, noise and a full-scale sine, `[3,T]`."""
    piece = synth.compose("artist00", "funk", 0).piece
    music = render(piece, 4.0, np.random.RandomState(0)) / 32768
    noise = np.random.RandomState(1).uniform(-1, 1, len(music))
    sine = np.sin(2 * np.pi * 440 * np.arange(len(music)) / RATE)
    return torch.tensor(np.stack([music, noise, sine]), dtype=torch.float32)


@pytest.mark.parametrize("arguments", [{}, {"n_fft": 1024, "hop_length": 320, "n_mels": 128}])
def test_engines_agree(waveforms: torch.Tensor, arguments: dict[str, int]) -> None:
    fft = Mel(engine="fft", **arguments)(waveforms)
    nnaudio = Mel(engine="nnaudio", **arguments)(waveforms)
    n_fft = arguments.get("n_fft", 512)
    full_scale = 20 * np.log10(n_fft / 4)  # dB: a sine in the middle of a bin, Hann window
    heard = fft > full_scale - 80
    assert heard.float().mean() > 0.3
    assert (fft - nnaudio).abs()[heard].max() < 0.02  # dB


def test_equals_librosa(waveforms: torch.Tensor) -> None:
    ours = Mel()(waveforms)[:, 0].numpy()
    for x, y in zip(waveforms.numpy(), ours, strict=True):
        power = librosa.feature.melspectrogram(
            y=x,
            sr=RATE,
            n_fft=512,
            hop_length=256,
            n_mels=96,
            htk=True,
            norm=None,
            pad_mode="reflect",
        )
        theirs = librosa.power_to_db(power, top_db=None)
        assert np.abs(theirs - y)[theirs > theirs.max() - 80].max() < 0.02  # dB


def test_equals_torchaudio(waveforms: torch.Tensor) -> None:
    theirs = torchaudio.transforms.MelSpectrogram(RATE, 512, hop_length=256, n_mels=96)(waveforms)
    ours = Mel()(waveforms)[:, 0]
    heard = ours > ours.max() - 80
    assert (10 * theirs.clamp(min=1e-10).log10() - ours).abs()[heard].max() < 0.02  # dB


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_finite_forward_and_backward(engine: str, level: float) -> None:
    x = torch.full((2, 8000), level, requires_grad=True)
    y = Mel(engine=engine)(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
def test_autocast_around_it_changes_nothing(waveforms: torch.Tensor, engine: str) -> None:
    mel = Mel(engine=engine)
    with torch.autocast("cpu", torch.bfloat16):
        inside = mel(waveforms)
    assert torch.equal(inside, mel(waveforms))
    assert torch.equal(mel(waveforms.bfloat16()), mel(waveforms.bfloat16().float()))


@pytest.mark.parametrize("samples", [257, 4095, 4096, 4097])
def test_shape(samples: int) -> None:
    mel = Mel()
    assert mel.min_samples == 257
    assert mel(torch.rand(2, samples)).shape == (2, 1, 96, samples // 256 + 1)


def test_frozen_kernels_are_not_saved_and_trainable_ones_learn() -> None:
    assert not Mel().state_dict() and not list(Mel().parameters())
    mel = Mel(trainable=True)
    assert set(mel.state_dict()) == {"mel.mel_basis", "mel.stft.wsin", "mel.stft.wcos"}
    mel(torch.rand(2, 4000) - 0.5).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mel.parameters())


@pytest.mark.parametrize(
    "arguments",
    [{"engine": "gpu"}, {"f_max": 9000.0}, {"f_min": 8000.0}, {"trainable": True, "engine": "fft"}],
)
def test_wrong_arguments(arguments: dict) -> None:
    with pytest.raises(InputError, match="frontend"):
        Mel(**arguments)
