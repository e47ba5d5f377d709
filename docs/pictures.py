"""The pictures of the guide: what the project's front ends make of an excerpt of `synth`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sounds
from sounds import HOP, RATE, SECONDS

NOTES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"]
HERTZ = [125, 250, 500, 1000, 2000, 4000]
BOARD = Path(__file__).parents[1] / "leaderboard" / "leaderboard.csv"
CHANCE = 1 / 8  # of groove8
GENRES = {
    "rock": "four beats, straight",
    "shuffle": "as rock, but swung",
    "waltz": "as rock, but three beats",
    "ballad": "as rock, but minor",
}


def make(rows: int = 1, height: float = 2.8, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as a page, and its axes."""
    figure = Figure(figsize=(7.6, height), layout="constrained", dpi=100)
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def show(axes: Axes, x_FN: np.ndarray, label: str, hop: int = HOP, dynamic: float = 70.0) -> None:
    """Draw features over time; of decibels, so many below the loudest."""
    extent = (0, x_FN.shape[1] * hop / RATE, -0.5, len(x_FN) - 0.5)
    lowest = max(x_FN.min(), x_FN.max() - dynamic)
    image = axes.imshow(
        x_FN, origin="lower", aspect="auto", extent=extent, vmin=lowest, cmap="magma"
    )
    axes.set(xlabel="time (s)", xlim=(0, SECONDS))
    axes.figure.colorbar(image, label=label, pad=0.01)


def mel_position(hertz: Sequence[float], n_mels: int = 96) -> np.ndarray:
    """Return at which bin of `mel` frequencies lie."""
    mel = 2595 * np.log10(1 + np.array(hertz) / 700)
    return mel / (2595 * np.log10(1 + RATE / 2 / 700)) * (n_mels + 1) - 1


def ticks(axes: Axes, at: Sequence[float], names: Sequence[object], label: str) -> None:
    """Name places of the vertical axis."""
    axes.set_yticks(list(at), [str(name) for name in names])
    axes.set_ylabel(label)


def waveform() -> Figure:
    """The excerpt, and 30 ms of it."""
    figure, (whole, part) = make(2, 3.4)
    x_T = sounds.excerpt()
    t_T = np.arange(len(x_T)) / RATE
    whole.plot(t_T, x_T, linewidth=0.4)
    whole.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, SECONDS), title="5 seconds")
    chosen = slice(round(2.0 * RATE), round(2.03 * RATE))
    part.plot(1000 * (t_T[chosen] - 2.0), x_T[chosen], marker=".", markersize=3, linewidth=0.8)
    part.set(xlabel="time after 2 s (ms)", ylabel="amplitude", title="30 ms of it: 480 samples")
    return figure


def tones() -> Figure:
    """A pure tone and one with overtones: waveforms and spectra."""
    figure, axes = make(2, 3.8, 2)
    for row, (count, name) in enumerate({1: "a pure tone", 10: "with overtones"}.items()):
        x_T = sounds.tone(count)[RATE // 2 : RATE]
        left, right = axes[2 * row : 2 * row + 2]
        left.plot(np.arange(320) / RATE * 1000, x_T[:320])
        left.set(xlabel="time (ms)", ylabel="amplitude", title=f"{name}: waveform")
        power = np.abs(np.fft.rfft(x_T * np.hanning(len(x_T)))) ** 2
        right.plot(np.fft.rfftfreq(len(x_T), 1 / RATE), 10 * np.log10(power / power.max() + 1e-8))
        right.set(xlabel="frequency (Hz)", ylabel="level (dB)", xlim=(0, 2500), ylim=(-70, 5))
        right.set_title(f"{name}: spectrum")
    return figure


def stft() -> Figure:
    """All bins of the Fourier transform over time."""
    figure, (axes,) = make()
    show(axes, sounds.features("stft"), "level (dB)")
    ticks(axes, np.arange(0, 9, 2) * 32, range(0, 9, 2), "frequency (kHz)")
    return figure


def windows() -> Figure:
    """The same second through a short and a long window."""
    figure, axes = make(1, 2.8, 2)
    for one, n_fft in zip(axes, (128, 4096), strict=True):
        given = [f"frontend.n_fft={n_fft}", "frontend.hop_length=64"]
        show(one, sounds.features("stft", *given), "level (dB)", hop=64)
        ticks(one, np.arange(0, 5) * n_fft / 16, range(5), "frequency (kHz)")
        one.set(xlim=(1, 2), ylim=(0, n_fft / 8), title=f"windows of {n_fft / RATE * 1000:.0f} ms")
    return figure


def mel() -> Figure:
    """`mel`: 96 bands."""
    figure, (axes,) = make()
    show(axes, sounds.features("mel"), "level (dB)")
    ticks(axes, mel_position(HERTZ), HERTZ, "frequency (Hz)")
    return figure


def cqt() -> Figure:
    """`cqt`: a row a semitone."""
    figure, (axes,) = make()
    show(axes, sounds.features("cqt"), "level (dB)", dynamic=50)
    ticks(axes, range(0, 84, 12), [f"C{octave}" for octave in range(1, 8)], "note")
    return figure


def mfcc() -> Figure:
    """`mfcc`: coefficients 1 to 19 (number 0 is the level), cut at 40."""
    figure, (axes,) = make()
    show(axes, np.clip(sounds.features("mfcc")[1:], -40, 40), "value", dynamic=1e9)
    ticks(axes, (0, 4, 9, 14, 18), (1, 5, 10, 15, 19), "coefficient")
    return figure


def chroma() -> Figure:
    """`chroma`: a row a pitch class."""
    figure, (axes,) = make()
    show(axes, sounds.features("chroma"), "share of the loudest")
    ticks(axes, range(12), NOTES, "pitch class")
    return figure


def genres() -> Figure:
    """Four genres of `synth` through `mel`."""
    figure, axes = make(2, 4.4, 2)
    for one, (genre, what) in zip(axes, GENRES.items(), strict=True):
        show(one, sounds.features("mel", genre=genre), "level (dB)")
        ticks(one, mel_position(HERTZ), HERTZ, "Hz")
        one.set_title(f"{genre}: {what}")
    return figure


def intervals() -> Figure:
    """Accuracies on groove8 with their intervals, as the leaderboard has them."""
    figure, (axes,) = make(1, 3.2)
    board = pd.read_csv(BOARD)
    rows = board[board["dataset"] == "groove8"].sort_values("mean").reset_index(drop=True)
    error = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
    axes.errorbar(rows["mean"], rows.index, xerr=error, fmt="o", capsize=3)
    axes.axvline(CHANCE, color="gray", linestyle=":", label="chance")
    ticks(axes, rows.index, rows["name"], "")
    axes.set(xlabel="accuracy on groove8, 95 % interval", xlim=(0, 0.7))
    axes.legend(loc="lower right")
    return figure


PICTURES = (waveform, tones, stft, windows, mel, cqt, mfcc, chroma, genres, intervals)
