"""The CQT front end against librosa."""

import librosa
import numpy as np
import pytest
import torch

from zoo.errors import InputError
from zoo.frontends.cqt import CQT

RATE = 16_000
HERTZ = 32.70 * 2 ** (np.arange(84) / 12)


def test_equals_librosa_on_music() -> None:
    t = np.arange(4 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * HERTZ[k] * t) for k in (24, 28, 31, 48, 52))
    x = 0.1 * chord + 0.02 * np.random.RandomState(0).uniform(-1, 1, len(t))
    theirs = librosa.cqt(x, sr=RATE, hop_length=256, fmin=32.70, n_bins=84, pad_mode="constant")
    theirs_db = librosa.amplitude_to_db(np.abs(theirs), amin=1e-5, top_db=None)
    ours = CQT()(torch.from_numpy(x)[None])[0, 0].numpy()
    assert ours.shape == theirs_db.shape == (84, len(t) // 256 + 1)
    heard = theirs_db > theirs_db.max() - 30
    error = np.abs(ours - theirs_db)
    assert np.median(error) < 0.35 and np.median(error[heard]) < 0.2  # dB; librosa approximates


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"trainable": True},
        {"n_bins": 30, "bins_per_octave": 24, "f_min": 110.0},
        {"n_bins": 1, "f_min": 4000.0},
        {"sample_rate": 22_050, "hop_length": 200},
        {"n_bins": 12, "f_min": 32.84600340840968},  # the longest kernel is a power of two
    ],
)
def test_octave_by_octave_equals_all_at_once(arguments: dict[str, float]) -> None:
    x = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    front_end = CQT(**arguments)
    whole = front_end.cqt(x, output_format="Complex", normalization_type="librosa")
    db = 10 * whole.square().sum(-1).clamp(min=1e-10).log10()
    torch.testing.assert_close(front_end(x)[:, 0], db, atol=1e-3, rtol=0)


@pytest.mark.parametrize("bin", [0, 12, 37, 60, 83])
def test_a_note_is_loudest_in_its_bin(bin: int) -> None:
    t = np.arange(3 * RATE) / RATE
    db = CQT()(torch.from_numpy(np.sin(2 * np.pi * HERTZ[bin] * t))[None])[0, 0]
    middle = db[:, db.shape[1] // 2]
    assert middle.argmax() == bin
    neighbours = [b for b in (bin - 1, bin + 1) if 0 <= b < 84]
    assert all(3 < middle[bin] - middle[b] < 9 for b in neighbours)  # Hann, Q of a semitone: 6 dB


def test_silence_gives_finite_gradients() -> None:
    x = torch.zeros(1, RATE, requires_grad=True)
    CQT()(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_bins_beyond_half_the_rate_are_refused() -> None:
    with pytest.raises(InputError, match=r"reaches 10547 Hz.*8000 Hz"):
        CQT(n_bins=101)
