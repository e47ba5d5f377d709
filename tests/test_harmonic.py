"""The harmonic front end against its formula."""

import numpy as np
import pytest
import torch

from zoo.errors import InputError
from zoo.frontends.harmonic import Harmonic

RATE = 16_000
HERTZ = 440.0 * 2 ** ((24 + np.arange(128) / 2 - 69) / 12)  # C1 and on, in quarter tones


def formula(x: np.ndarray, q: float, frame: int) -> np.ndarray:
    """Return decibels `[6,128]` of one frame: rfft, triangles by linear interpolation, log."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    padded = np.pad(x, 256, mode="reflect")
    power = np.abs(np.fft.rfft(padded[256 * frame : 256 * frame + 512] * window)) ** 2
    hertz = np.fft.rfftfreq(512, 1 / RATE)
    out = np.zeros((6, 128))
    for harmonic in range(6):
        for note in range(128):
            centre = HERTZ[note] * (harmonic + 1)
            half = (0.1079 * centre + 24.7) / q / 2
            triangle = np.interp(hertz, [centre - half, centre, centre + half], [0, 1, 0])
            out[harmonic, note] = 10 * np.log10(max(triangle @ power, 1e-10))
    return out


@pytest.mark.parametrize("q", [1.0, 0.7, 2.5])
def test_equals_its_formula(q: float) -> None:
    x = np.random.RandomState(0).uniform(-1, 1, 4000)
    front_end = Harmonic()
    with torch.no_grad():
        front_end.q.fill_(q)
        ours = front_end(torch.from_numpy(x)[None])[0].numpy()
    assert ours.shape == (6, 128, 4000 // 256 + 1)
    for frame in (0, 7, 15):
        theirs = formula(x, q, frame)
        heard = theirs > -30  # dB; below lie the narrow filters that no frequency falls into
        assert heard.mean() > 0.7
        assert np.abs(ours[..., frame] - theirs)[heard].max() < 0.02


@pytest.mark.parametrize("note", [60, 90, 127])
def test_a_note_with_overtones_is_loud_in_each_channel(note: int) -> None:
    t = np.arange(RATE) / RATE
    x = sum(np.sin(2 * np.pi * HERTZ[note] * k * t) for k in range(1, 7)) / 6
    db = Harmonic()(torch.from_numpy(x)[None])[0, :, :, 30]
    assert all((db[channel].max() - db[channel, note]) < 1.5 for channel in range(6))
    assert abs(int(db.sum(0).argmax()) - note) <= 1


def test_learns_its_bandwidth_and_saves_nothing_else() -> None:
    front_end = Harmonic()
    assert set(front_end.state_dict()) == {"q"}
    front_end(torch.rand(2, 4000) - 0.5).sum().backward()
    assert front_end.q.grad is not None and front_end.q.grad.abs() > 0


@pytest.mark.parametrize("samples", [257, 4095, 4096, 4097])
def test_shape(samples: int) -> None:
    front_end = Harmonic(n_harmonics=3, bins_per_semitone=1)
    assert (front_end.num_channels, front_end.num_bins, front_end.min_samples) == (3, 76, 257)
    assert front_end(torch.rand(2, samples)).shape == (2, 3, 76, samples // 256 + 1)


def test_too_many_harmonics_are_refused() -> None:
    with pytest.raises(InputError, match=r"n_harmonics=300 leaves no note.*8000 Hz; take fewer"):
        Harmonic(n_harmonics=300)
