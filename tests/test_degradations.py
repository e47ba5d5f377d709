"""Degradations measured by other means than those that made them."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from benchmarks import degradations
from benchmarks.degradations import CONDITIONS, MP3_KBITS, Waveform
from benchmarks.degraded import degraded_copy
from zoo.audio import decode
from zoo.errors import InputError

BY_NAME = {condition.name: condition for condition in CONDITIONS}
SAMPLE_RATE = 44_100  # Hz
RATES = (8_000, *MP3_KBITS, 96_000)  # Hz
LAYER_3 = {  # kbit/s by index
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def noise(seconds: float, sample_rate: int = SAMPLE_RATE, level: float = 0.1) -> Waveform:
    draw = np.random.default_rng(7)
    return (level * draw.standard_normal(round(seconds * sample_rate))).astype(np.float32)


def tones(seconds: float, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """A sweep and a few plucked tones, which no lag but 0 fits."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    sweep = 0.2 * scipy.signal.chirp(t, 100, seconds, 3_000, "logarithmic")
    return (sweep + 0.2 * np.sin(2 * np.pi * 440 * t) * np.exp(-(4 * t % 1) * 8)).astype(np.float32)


def change(name: str) -> Callable[[Waveform], Waveform]:
    """A condition's change without its turning down."""
    return lambda x: BY_NAME[name].change(x, SAMPLE_RATE, np.random.default_rng(1))


def lag(x: Waveform, y: Waveform) -> int:
    """Return by how many samples y is late."""
    return int(scipy.signal.correlate(y, x, method="fft").argmax()) - len(x) + 1


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def test_panels_and_names() -> None:
    panels = [condition.panel for condition in CONDITIONS]
    assert set(panels) == set(degradations.PANELS)
    assert len(BY_NAME) == len(CONDITIONS) == 19 and panels.count("degradation") == 14
    music = {condition.name for condition in CONDITIONS if condition.panel == "music"}
    assert music == {"pitch-down-2", "pitch-up-2", "tempo-0.8", "tempo-1.25"}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_draw_follows_from_the_name_of_the_track(name: str) -> None:
    condition = BY_NAME[name]
    x = tones(1.0)
    kept = x.copy()
    once, again, other = (condition.apply(x, SAMPLE_RATE, track) for track in ("a", "a", "b"))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(once, again)
    is_drawn = name.startswith(("white", "pink", "reverb"))
    assert np.array_equal(once, other) == (not is_drawn)
    assert once.dtype == np.float32 and np.abs(once).max() < 1
    assert np.array_equal(once, x) == (name == "unchanged")
    tempo = float(name.removeprefix("tempo-")) if "tempo" in name else 1
    assert len(once) == round(len(x) / tempo)


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("kbits", [32, 40, 48, 56, 64, 96, 128])
def test_mp3_is_aligned(kbits: int, sample_rate: int) -> None:
    for x in (noise(1.0, sample_rate), tones(0.7003, sample_rate)):
        y = degradations.mp3(x, sample_rate, np.random.default_rng(0), kbits=kbits)
        assert len(y) == len(x) and lag(x, y) == 0


@pytest.mark.parametrize("sample_rate", MP3_KBITS)
@pytest.mark.parametrize("kbits", [32, 64, 128])
def test_mp3_has_its_bit_rate(kbits: int, sample_rate: int) -> None:
    file = degradations.encode_mp3(noise(1.0, sample_rate), sample_rate, kbits)
    version = 1 if sample_rate >= 32_000 else 2
    mark = {1: b"\xff\xfb", 2: b"\xff\xf3"}[version]
    start, rates = file.index(mark), set()
    while start + 4 < len(file):
        assert file[start : start + 2] == mark
        rate = LAYER_3[version][file[start + 2] >> 4]
        rates.add(rate)
        start += 144_000 // version * rate // sample_rate + (file[start + 2] >> 1 & 1)
    assert rates == {kbits}


def test_more_bits_lose_less(shared: Path) -> None:
    file = sorted((shared / "data/groove8/audio").rglob("*.ogg"))[0]
    x = (decode(file, SAMPLE_RATE) / 2**15).astype(np.float32)
    errors = []
    for kbits in (128, 64, 32):
        y = change(f"mp3-{kbits}kbps")(x)
        assert lag(x, y) == 0
        errors.append(np.square(y - x).sum())
    assert errors == sorted(errors) and errors[0] < np.square(x).sum() / 10


@pytest.mark.parametrize("name", [n for n, c in BY_NAME.items() if c.panel == "degradation"])
def test_degradations_are_aligned(name: str) -> None:
    late = 1e3 * lag(tones(1.0), change(name)(tones(1.0))) / SAMPLE_RATE  # ms
    assert abs(late) < 0.3 if "pass" in name else late == 0  # filters are causal


@pytest.mark.parametrize("snr", [20, 10])
@pytest.mark.parametrize("colour", ["white", "pink"])
def test_noise_has_its_ratio_and_colour(colour: str, snr: int) -> None:
    x = tones(10.0)
    added = change(f"{colour}-noise-{snr}db")(x) - x
    assert decibels(np.mean(x**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.01)
    hertz, power = scipy.signal.welch(added, SAMPLE_RATE, nperseg=16_384)
    band = (hertz > 50) & (hertz < 20_000)
    slope, _ = np.polyfit(
        np.log2(hertz[band]), 10 * np.log10(power[band]), 1, w=hertz[band] ** -0.5
    )
    assert slope == pytest.approx({"white": 0, "pink": -3.01}[colour], abs=0.1)  # dB an octave
    if colour == "pink":
        assert power[hertz < 10].mean() < power[(hertz > 25) & (hertz < 50)].mean() / 10


def test_what_would_exceed_full_scale_is_turned_down_as_a_whole() -> None:
    x = 2.4 * tones(1.0)
    assert 0.9 < np.abs(x).max() < 1
    plain = change("pink-noise-10db")(x)
    condition = replace(BY_NAME["pink-noise-10db"], change=lambda *_: plain)
    y = condition.apply(x, SAMPLE_RATE, "a")
    assert np.abs(plain).max() > 1 > np.abs(y).max() > 0.999
    np.testing.assert_allclose(y / plain, (y / plain)[0], rtol=1e-5)


def test_gain_and_clipping() -> None:
    x = noise(2.0)
    assert decibels(np.mean(change("gain-minus-20db")(x) ** 2) / np.mean(x**2)) == pytest.approx(
        -20
    )
    y = change("clipped-10pct")(x)
    assert np.mean(y != x) == pytest.approx(0.1, abs=1e-4)
    assert np.abs(y).max() == pytest.approx(0.1 * 1.645, rel=0.01)  # of a Gaussian
    rests = np.concatenate([x, np.zeros(99 * len(x), np.float32)])
    np.testing.assert_allclose(change("clipped-10pct")(rests)[: len(x)], y)


@pytest.mark.parametrize(
    "name, corner, beyond", [("lowpass-2khz", 2e3, 4e3), ("highpass-300hz", 300, 150)]
)
def test_filters_have_their_corner_and_slope(name: str, corner: float, beyond: float) -> None:
    x = np.zeros(SAMPLE_RATE, np.float32)
    x[0] = 0.5
    response = 2 * np.abs(np.fft.rfft(change(name)(x)))  # 1 Hz apart
    assert 2 * decibels(response[round(corner)]) == pytest.approx(-3.01, abs=0.05)
    assert 2 * decibels(response[round(beyond)]) == pytest.approx(-24.1, abs=1)


def test_8_khz_leaves_nothing_above_4() -> None:
    x = noise(4.0)
    hertz, before = scipy.signal.welch(x, SAMPLE_RATE, nperseg=4096)
    after = scipy.signal.welch(change("resampled-8khz")(x), SAMPLE_RATE, nperseg=4096)[1]
    assert (after / before)[hertz > 4_050].max() < 1e-4
    np.testing.assert_allclose((after / before)[(hertz > 50) & (hertz < 3_500)], 1, atol=0.02)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_room_decays_as_it_says(seconds: float) -> None:
    impulse = degradations.room(SAMPLE_RATE, np.random.default_rng(3), seconds)
    assert np.square(impulse).sum() == pytest.approx(1)
    assert impulse[0] ** 2 == pytest.approx(np.square(impulse[1:]).sum())
    left = 10 * np.log10(np.cumsum(np.square(impulse[:0:-1]))[::-1])  # Schroeder 1965
    left -= left[0]
    start, stop = (int(np.flatnonzero(left < level)[0]) for level in (-5, -25))
    assert 3 * (stop - start) / SAMPLE_RATE == pytest.approx(seconds, rel=0.05)
    x = noise(3.0)
    y = change(f"reverb-{seconds}s")(x)
    assert decibels(np.mean(y**2) / np.mean(x**2)) == pytest.approx(0, abs=1)
    assert lag(x, y) == 0


@pytest.mark.parametrize("semitones, name", [(-2, "pitch-down-2"), (2, "pitch-up-2")])
def test_pitch_moves_and_time_stays(semitones: int, name: str) -> None:
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    x = (0.3 * np.sin(2 * np.pi * 330 * t)).astype(np.float32)
    assert 12 * np.log2(pitch(change(name)(x)) / 330) == pytest.approx(semitones, abs=0.1)
    assert abs(lag_of_envelope(change(name), 1)) < 2  # ms


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_tempo_moves_and_pitch_stays(tempo: float) -> None:
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    x = (0.3 * np.sin(2 * np.pi * 330 * t)).astype(np.float32)
    y = change(f"tempo-{tempo}")(x)
    assert 12 * np.log2(pitch(y) / 330) == pytest.approx(0, abs=0.1)
    assert abs(lag_of_envelope(change(f"tempo-{tempo}"), tempo)) < 2  # ms


def pitch(x: Waveform) -> float:
    """Return the frequency of the strongest partial in Hz."""
    hertz, power = scipy.signal.periodogram(x, SAMPLE_RATE, "hann", nfft=8 * len(x))
    return float(hertz[power.argmax()])


def lag_of_envelope(of: Callable[[Waveform], Waveform], tempo: float) -> float:
    """Return by how many ms noise that swells and fades at random is late."""
    levels = np.repeat(np.random.default_rng(2).uniform(0, 1, 80) ** 3, SAMPLE_RATE // 20)
    x = noise(4.0)[: len(levels)] * levels.astype(np.float32)
    blur = np.ones(441) / 441
    before, after = (np.sqrt(np.convolve(y**2, blur, "same")) for y in (x, of(x)))
    expected = np.interp(np.arange(len(after)) * tempo, np.arange(len(before)), before)
    return 1e3 * lag(expected - expected.mean(), after - after.mean()) / SAMPLE_RATE


@pytest.fixture
def track(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "track.wav", tones(2.0), SAMPLE_RATE, "PCM_16")
    return str(tmp_path / "track.wav")


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_a_copy_holds_the_degraded_track_at_its_rate(sample_rate: int, tmp_path: Path) -> None:
    condition = BY_NAME["white-noise-10db"]
    track = str(tmp_path / "track.wav")
    soundfile.write(track, tones(2.0, sample_rate), sample_rate, "PCM_16")
    copy = degraded_copy(track, "a track", condition, tmp_path)
    x = soundfile.read(track, dtype="float32")[0]
    expected = condition.apply(x, sample_rate, "a track")
    copied, rate = soundfile.read(copy)
    assert rate == sample_rate
    np.testing.assert_allclose(copied, expected, atol=0.51 / 2**15)
    for rate in (16_000, 48_000):  # of models
        resampled = soxr.resample(expected, sample_rate, rate, "HQ")
        np.testing.assert_allclose(decode(copy, rate) / 2**15, resampled, atol=3 / 2**15)


def test_nothing_changes_unless_it_is_asked_for(track: str, tmp_path: Path) -> None:
    copy = degraded_copy(track, "a track", BY_NAME["unchanged"], tmp_path)
    for rate in (16_000, 48_000):
        np.testing.assert_array_equal(decode(copy, rate), decode(track, rate))


def test_a_copy_is_made_once_and_again_for_another_file(track: str, tmp_path: Path) -> None:
    make = partial(degraded_copy, track, "a track", BY_NAME["pink-noise-20db"], tmp_path)
    first = make()
    written = first.stat().st_mtime_ns
    assert make() == first and first.stat().st_mtime_ns == written
    soundfile.write(track, noise(1.0), SAMPLE_RATE, "PCM_16")
    assert make() != first
    Path(track).unlink()
    with pytest.raises(InputError, match=r"track\.wav cannot be decoded"):
        make()


def test_two_processes_may_make_the_same_copies(track: str, tmp_path: Path) -> None:
    code = (
        "from benchmarks.degradations import CONDITIONS; from benchmarks.degraded import *\n"
        f"for c in CONDITIONS[::4]: degraded_copy({track!r}, 'a', c, Path({str(tmp_path)!r}))"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[1]
    both = [subprocess.Popen(command, cwd=root, env=os.environ) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    copies = [file for file in (tmp_path / "degraded").rglob("*") if file.is_file()]
    assert {file.suffix for file in copies} == {".flac"}
    alone = [degraded_copy(track, "a", c, tmp_path / "alone").read_bytes() for c in CONDITIONS[::4]]
    assert sorted(alone) == sorted(copy.read_bytes() for copy in copies)
