"""Front ends against librosa, scipy and their formulas, at matched settings."""

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from zoo.frontends.chroma import Chroma
from zoo.frontends.compression import PCEN, make_compression, smooth
from zoo.frontends.cqt import CQT
from zoo.frontends.filterbank import FilterBank
from zoo.frontends.gammatone import Gammatone
from zoo.frontends.mel import Mel
from zoo.frontends.mfcc import MFCC
from zoo.frontends.stft import STFT
from zoo.frontends.vqt import VQT
from zoo.registry import build_named, read_choice

RATE = 16_000
HERTZ = 32.70 * 2 ** (np.arange(84) / 12)


def chord(rate: int = RATE, seconds: float = 2.0) -> np.ndarray:
    """C major over two octaves in noise, `[T]`."""
    t = np.arange(int(seconds * rate)) / rate
    notes = 0.1 * sum(np.sin(2 * np.pi * HERTZ[k] * t) for k in (24, 28, 31, 48, 52))
    noise = 0.02 * np.random.RandomState(0).uniform(-1, 1, len(t))
    return (notes + noise).astype(np.float32)


def noise(seconds: float) -> np.ndarray:
    return np.random.RandomState(0).uniform(-1, 1, int(seconds * RATE)).astype(np.float32)


def power(x: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    z = librosa.stft(x, n_fft=n_fft, hop_length=hop_length, pad_mode="reflect")
    return np.abs(z) ** 2


def decibels(x: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(x, amin=1e-10, top_db=None)


def run(front_end: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return front_end(torch.from_numpy(x)[None])[0, 0].numpy()


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_mel_scales_and_norms_equal_librosa(engine: str, scale: str, norm: str | None) -> None:
    x = chord()
    ours = run(Mel(n_fft=1024, n_mels=64, mel_scale=scale, norm=norm, engine=engine), x)
    theirs = librosa.feature.melspectrogram(
        S=power(x, 1024, 256), sr=RATE, n_mels=64, htk=scale == "htk", norm=norm
    )
    assert np.abs(ours - decibels(theirs)).max() < 0.001  # dB


def test_mel_of_panns_equals_librosa() -> None:
    x = chord(32_000)
    theirs = librosa.feature.melspectrogram(
        S=power(x, 1024, 320), sr=32_000, n_mels=64, fmin=50.0, fmax=14_000.0
    )
    arguments = {k: v for k, v in read_choice("frontend", "mel_panns").items() if k[0] != "_"}
    ours = run(build_named("frontend", "mel_panns", arguments), x)
    assert ours.shape == (64, 201)
    assert np.abs(ours - decibels(theirs)).max() < 0.001  # dB


def test_stft_equals_librosa() -> None:
    x = chord()
    assert np.abs(run(STFT(), x) - decibels(power(x, 512, 256))).max() < 0.1  # dB
    assert np.median(np.abs(run(STFT(), x) - decibels(power(x, 512, 256)))) < 1e-4


def test_mfcc_equals_librosa() -> None:
    x = chord()
    mel = librosa.feature.melspectrogram(
        S=power(x, 1024, 256), sr=RATE, n_mels=64, htk=True, norm=None
    )
    theirs = librosa.feature.mfcc(S=decibels(mel), n_mfcc=20)
    assert np.abs(run(MFCC(), x) - theirs).max() < 0.001  # dB


def filter_scale(bins_per_octave: int) -> float:
    """Librosa's bandwidth over nnAudio's, which are the distances to both and to one neighbour."""
    step = 2 ** (1 / bins_per_octave)
    return (step**2 - 1) / (step**2 + 1) / (step - 1)


@pytest.mark.parametrize("gamma", [None, 20.0])
def test_vqt_equals_librosa_on_noise(gamma: float | None) -> None:
    x, scale = noise(seconds=4.0), filter_scale(12)
    width = {"filter_scale": scale, "gamma": None if gamma is None else gamma * scale}
    z = librosa.vqt(x, sr=RATE, hop_length=256, fmin=32.70, n_bins=84, pad_mode="constant", **width)
    error = np.abs(run(VQT(gamma=gamma), x) - decibels(np.abs(z) ** 2))
    assert np.median(error) < 0.3  # dB; librosa approximates


@pytest.mark.parametrize("gamma", [None, 20.0])
def test_vqt_equals_its_formula(gamma: float | None) -> None:
    x, alpha = noise(seconds=1.0), 2 ** (1 / 12) - 1
    ours = run(VQT(gamma=gamma), x)
    for k in (0, 25, 60, 83):
        width = alpha * HERTZ[k] + (24.7 / 0.108 * alpha if gamma is None else gamma)
        length = int(np.ceil(RATE / width))
        n = np.arange(length) - (length + 1) // 2
        window = scipy.signal.get_window("hann", length)
        kernel = window / window.sum() * np.exp(2j * np.pi * HERTZ[k] / RATE * n)
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, length), length)
        z = frames[length + n[0] :: 256][: ours.shape[1]] @ kernel
        assert np.abs(ours[k] - decibels(length * np.abs(z) ** 2)).max() < 0.001  # dB


def test_vqt_without_gamma_is_cqt_and_with_it_has_shorter_kernels() -> None:
    x = chord()
    assert np.array_equal(run(VQT(gamma=0.0), x), run(CQT(), x))
    assert VQT().cqt.kernel_width == CQT().cqt.kernel_width / 8


@pytest.mark.parametrize(("bins_per_octave", "f_min"), [(12, 32.70), (24, 32.70), (36, 55.0)])
def test_chroma_equals_librosa(bins_per_octave: int, f_min: float) -> None:
    x = chord(seconds=4.0)
    front_end = Chroma(n_octaves=5, bins_per_octave=bins_per_octave, f_min=f_min)
    ours = run(front_end, x)
    arguments = {"sr": RATE, "hop_length": 256, "fmin": f_min, "bins_per_octave": bins_per_octave}
    own_power = front_end.cqt.power(torch.from_numpy(x)[None])[0].numpy()
    folded = librosa.feature.chroma_cqt(C=own_power, n_octaves=5, **arguments)
    assert np.abs(ours - folded).max() < 1e-5
    scale = filter_scale(bins_per_octave)
    z = librosa.cqt(
        x, n_bins=5 * bins_per_octave, pad_mode="constant", filter_scale=scale, **arguments
    )
    theirs = librosa.feature.chroma_cqt(C=np.abs(z) ** 2, n_octaves=5, **arguments)
    assert np.abs(ours - theirs).max() < 0.05 and np.median(np.abs(ours - theirs)) < 0.005
    assert {*ours.mean(1).argsort()[-3:]} == {0, 4, 7}  # C, E, G


def test_gammatone_equals_its_formula() -> None:
    """Spectra of t^3 exp(-2 pi b t) cos(2 pi f t), f evenly spaced on the ERB scale."""
    front_end, ear = Gammatone(), 9.26449 * 24.7
    f = np.exp(np.linspace(np.log(50 + ear), np.log(RATE / 2 + ear), 65)[:-1]) - ear
    b, t = 1.019 * (f / 9.26449 + 24.7), np.arange(8 * 1024)[:, None] / RATE
    sounds = t**3 * np.exp(-2 * np.pi * b * t) * np.cos(2 * np.pi * f * t)
    responses = np.abs(np.fft.rfft(sounds.T))
    responses = responses[:, ::8] / responses.max(1, keepdims=True)
    weights = 1024 * front_end.weights.numpy()
    below = f < 5000  # Hz: above, what is sampled is mirrored at half the rate
    assert np.abs(weights - responses)[below].max() < 0.005
    filters = [scipy.signal.gammatone(hertz, "iir", fs=RATE) for hertz in f]
    slaney = [np.abs(scipy.signal.freqz(*ba, worN=513, include_nyquist=True)[1]) for ba in filters]
    above = f > 200  # Hz: below, these polynomials are too close to 0
    assert np.abs(weights - slaney)[above].max() < 1e-3


def test_gammatone_weights_power() -> None:
    x, front_end = chord(), Gammatone()
    theirs = decibels(front_end.weights.numpy() @ power(x, 1024, 256))
    assert np.abs(run(front_end, x) - theirs).max() < 0.001  # dB


def test_compressions_equal_their_formulas() -> None:
    power = 10 ** torch.linspace(-14, 6, 100)
    expected = {
        "db": 10 * power.clamp(min=1e-10).log10(),
        "log": (power.double() + 1e-6).log().float(),
        "log1p": (1 + 10_000 * power.double()).log().float(),
    }
    for name, features in expected.items():
        torch.testing.assert_close(make_compression(name, 100, 62.5)(power), features)


@pytest.mark.parametrize("frames", [1, 2, 7, 64, 65, 1000])
def test_smoothing_equals_a_recursive_filter(frames: int) -> None:
    random = np.random.RandomState(0)
    x, s = random.uniform(0, 10, (3, frames)) ** 4, np.array([0.5, 0.04, 0.001])
    ours = smooth(torch.from_numpy(x), torch.from_numpy(s)[:, None]).numpy()
    for row, b, y in zip(x, s, ours, strict=True):
        theirs, _ = scipy.signal.lfilter([b], [1, b - 1], row, zi=[(1 - b) * row[0]])
        np.testing.assert_allclose(y, theirs, rtol=1e-12)


def test_pcen_equals_librosa() -> None:
    x = power(chord(), 512, 256)
    x[:, 60:] *= 1e-8  # smoothing must not lose what is soft after what is loud
    settings = {"gain": 0.98, "bias": 2.0, "power": 0.5, "eps": 1e-6}
    theirs = [
        librosa.pcen(row[None], b=0.04, zi=(1 - 0.04) * row[None, :1], **settings)[0] for row in x
    ]
    with torch.no_grad():
        ours = PCEN(257, s=0.04)(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert ours.max() > 0.5


def test_pcen_gradients_and_time_constant() -> None:
    module = PCEN(3, s=0.04).double()
    x = torch.rand(2, 3, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y, *_: module(y), (x, *module.parameters()))
    s = [make_compression("pcen", 1, rate).logit_s.sigmoid().item() for rate in (100, 50)]
    assert s == pytest.approx([0.025, 1 - 0.975**2])


def test_filterbank_begins_as_mel_filters() -> None:
    f = librosa.mel_frequencies(42, fmin=60, fmax=7800, htk=True)
    kernels = FilterBank().filters.kernels().detach().numpy().reshape(2, 40, 401)
    responses = np.abs(np.fft.fft(kernels[0] + 1j * kernels[1], RATE))  # a bin is 1 Hz
    assert np.abs(responses.argmax(1) - f[1:-1]).max() <= 1  # Hz
    np.testing.assert_allclose(responses.max(1), 1, atol=0.05)  # the longest are cut a little
    widths = (responses > 0.5).sum(1)
    np.testing.assert_allclose(widths[5:], 0.75 * (f[2:] - f[:-2])[5:], rtol=0.05)


def test_filterbank_equals_its_formula() -> None:
    x, front_end = chord(seconds=0.5), FilterBank(stride=1)
    f = librosa.mel_frequencies(42, fmin=60, fmax=7800, htk=True) / RATE
    t = np.arange(-200, 201)
    energies = []
    for center, width in zip(f[1:-1], 0.75 * (f[2:] - f[:-2]), strict=True):
        sigma = np.sqrt(2 * np.log(2)) / (np.pi * width)
        gabor = np.exp(-(t**2) / (2 * sigma**2) + 2j * np.pi * center * t)
        z = np.convolve(np.pad(x, 200), gabor / np.sqrt(2 * np.pi) / sigma, mode="same")
        pooled = np.convolve(np.abs(z) ** 2, np.exp(-(t**2) / (2 * 80**2)), mode="same")
        energies.append(np.maximum(pooled[200:-200:160], 1e-5))
    settings = {"gain": 0.96, "bias": 2.0, "power": 0.5, "eps": 1e-12}
    theirs = [librosa.pcen(e[None], b=0.04, zi=0.96 * e[None, :1], **settings)[0] for e in energies]
    ours = run(front_end, x)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_filterbank_with_a_stride_hears_the_same() -> None:
    x = noise(seconds=2.0)
    assert np.abs(run(FilterBank(), x) - run(FilterBank(stride=1), x)).max() < 0.001
