"""Near duplicates: planted copies are found, loops and performances are not."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from numpy.random import RandomState
from scipy.signal import butter, sosfilt

import zoo.duplicates
import zoo.fingerprints
from benchmarks.duplicates import CODECS, Copy, composed, plant, write_copy
from zoo import correlation
from zoo.decoding import prepare
from zoo.duplicates import near_duplicates
from zoo.errors import InputError
from zoo.fingerprints import fingerprints, folder_of
from zoo.store import Store

RATE = 16_000
COLUMNS = ["a", "b", "shift", "overlap", "correlation"]


@pytest.fixture(scope="module")
def music() -> list[np.ndarray]:
    """Sixteen tracks of 20 s: two families of eight."""
    return list(itertools.islice(composed(16, 20.0, RandomState(1)), 16))


def stored(folder: Path, tracks: list[np.ndarray], rate: int = RATE) -> Store:
    for number, x_T in enumerate(tracks):
        soundfile.write(folder / f"{number:02d}.wav", x_T, rate)
    store, left_out = prepare(sorted(folder.glob("*.wav")), RATE, folder, progress=False)
    assert left_out.empty
    return store


def pairs(found: pd.DataFrame) -> list[tuple[int, int]]:
    assert list(found) == COLUMNS
    return list(zip(found["a"], found["b"], strict=True))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("planted")
    random = RandomState(3)
    table = plant(folder, composed(80, 15.0, random), 80, random)
    store, _ = prepare(table["path"], RATE, folder, progress=False)
    return store, table


def test_planted_copies_are_found_and_nothing_else(planted: tuple[Store, pd.DataFrame]) -> None:
    store, table = planted
    copies = table[table["original"] >= 0]
    found = near_duplicates(store, progress=False)
    assert set(pairs(found)) == set(zip(copies["original"], copies.index, strict=True))
    starts = [table["copy"][b].starts for b in found["b"]]
    np.testing.assert_allclose(found["shift"], starts, atol=0.001)
    np.testing.assert_allclose(found["overlap"], store.lengths[found["b"]] / RATE, atol=0.01)
    assert found["correlation"].between(0.9, 1).all()
    assert (found["a"] < found["b"]).all() and pairs(found) == sorted(pairs(found))


def test_chromaprint_alone_is_wrong(planted: tuple[Store, pd.DataFrame], monkeypatch) -> None:
    store, table = planted
    monkeypatch.setattr(zoo.duplicates, "MIN_CORRELATION", 0.0)
    found = near_duplicates(store, progress=False)
    wrong = [(a, b) for a, b in pairs(found) if table["original"][b] != a]
    assert len(wrong) > 5


@pytest.mark.parametrize("codec", CODECS)
def test_each_codec_cut_softer_and_resampled(codec: str, tmp_path: Path, music) -> None:
    for number, x_T in enumerate(music[::3]):
        soundfile.write(tmp_path / f"{number}.wav", x_T, RATE)
        write_copy(x_T, Copy(codec, 44_100, 2.0, 1.5, 0.2), tmp_path / f"copy{number}")
    files = sorted(tmp_path.glob("?.wav")) + sorted(tmp_path.glob("copy*"))
    found = near_duplicates(prepare(files, RATE, tmp_path, progress=False)[0], progress=False)
    num = len(files) // 2
    assert pairs(found) == [(row, row + num) for row in range(num)]


def test_an_excerpt_of_a_long_track(tmp_path: Path, music) -> None:
    long_T = np.concatenate(music[:6])
    excerpt_T = long_T[45 * RATE + 77 : 60 * RATE] * -0.3
    found = near_duplicates(stored(tmp_path, [excerpt_T, music[9], long_T]), progress=False)
    assert pairs(found) == [(0, 2)]
    assert found["shift"][0] == pytest.approx(-45 - 77 / RATE, abs=0.001)
    assert found["overlap"][0] == pytest.approx(len(excerpt_T) / RATE, abs=0.001)
    assert found["correlation"][0] > 0.99


def test_equal_tracks_count_as_one(tmp_path: Path, music) -> None:
    x_T = music[0]
    store = stored(tmp_path, [x_T[RATE:], x_T, x_T[RATE:], x_T, music[1]])
    found = near_duplicates(store, progress=False)
    assert pairs(found) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    np.testing.assert_allclose(found["shift"], [-1, -1, 1, -1], atol=0.001)


def test_tracks_that_are_too_short_or_alone(tmp_path: Path, music) -> None:
    for seconds, name in ((1.0, "short"), (20.0, "alone")):
        (tmp_path / name).mkdir()
        track_T = music[0][: round(seconds * RATE)]
        tracks = [track_T, 0.5 * track_T] if name == "short" else [track_T]
        found = near_duplicates(stored(tmp_path / name, tracks), progress=False)
        assert pairs(found) == [] and found["a"].dtype == np.int64


def test_tracks_that_begin_with_the_same_silence(tmp_path: Path, music) -> None:
    silence_T = np.zeros(8 * RATE)
    tracks = [np.concatenate([silence_T, x_T[: 4 * RATE]]) for x_T in music[::2]]
    assert pairs(near_duplicates(stored(tmp_path, tracks), progress=False)) == []


def test_a_value_that_is_everywhere_makes_no_more_work_than_others() -> None:
    prints = [np.zeros(60, np.uint32)] * 500
    num_values, num_tables = 60 * 500, len(zoo.duplicates.MASKS)
    found = list(zoo.duplicates._voted(prints))
    votes = sum(votes for *_, votes in found)
    assert 0 < votes <= 3 * num_tables * num_values * zoo.duplicates.MAX_NEIGHBOURS
    assert len({(a, b) for a, b, *_ in found}) <= num_values


def test_values_do_not_depend_on_the_batch(tmp_path: Path, music) -> None:
    tracks = [x_T[: RATE * 3 + 997 * number] for number, x_T in enumerate(music)]
    store = stored(tmp_path, tracks)
    for row, print_N in enumerate(fingerprints(store, progress=False)):
        samples_T = soxr.resample(store.track(row), RATE, zoo.fingerprints.RATE)
        alone_N = zoo.fingerprints._by_ffmpeg(samples_T)
        assert len(alone_N) > 0
        np.testing.assert_array_equal(print_N, alone_N)


def test_the_library_gives_the_same_values(music) -> None:
    pytest.importorskip("chromaprint", exc_type=ImportError)
    samples_T = soxr.resample((music[0] * 2**15).astype(np.int16), RATE, zoo.fingerprints.RATE)
    by_library_N = zoo.fingerprints._values(samples_T)
    np.testing.assert_array_equal(by_library_N, zoo.fingerprints._by_ffmpeg(samples_T))


def test_the_cache_spares_the_second_time(tmp_path: Path, music, monkeypatch) -> None:
    store = stored(tmp_path, music[:3])
    first = fingerprints(store, progress=False)
    monkeypatch.setattr(zoo.fingerprints, "_values", None)  # cannot be called
    again = fingerprints(store.select(np.array([2, 0])), progress=False)
    np.testing.assert_array_equal(again[0], first[2])
    monkeypatch.undo()
    (file,) = folder_of(store).iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(UserWarning, match=f"{file} is damaged"):
        np.testing.assert_array_equal(fingerprints(store, progress=False)[2], first[2])


@pytest.mark.parametrize("ffmpeg", [sys.executable, "/nowhere/ffmpeg"])
def test_no_chromaprint(ffmpeg: str, tmp_path: Path, music, monkeypatch) -> None:
    """A program that makes none, or none at all."""
    monkeypatch.setitem(sys.modules, "chromaprint", None)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", ffmpeg)
    with pytest.raises(InputError, match=r"chromaprint.*install imageio-ffmpeg"):
        near_duplicates(stored(tmp_path, music[:1]), progress=False)


def test_correlation_is_that_of_the_octave_that_differs() -> None:
    """Two waveforms with equal lows, and highs of which half the energy is common."""
    random = RandomState(0)
    low = butter(4, 200, fs=4_000, output="sos")
    high = butter(6, [1_100, 1_900], "bandpass", fs=4_000, output="sos")
    lows_T = sosfilt(low, random.randn(80_000))
    common_T, own_T, other_T = (sosfilt(high, random.randn(80_000)) for _ in range(3))
    x_T = (lows_T + common_T + own_T).astype(np.float32)
    y_T = (lows_T + common_T + other_T).astype(np.float32)
    match = correlation.correlate(x_T, y_T[1_000:], 0.3)
    assert match.correlation == pytest.approx(0.5, abs=0.03)
    assert match.shift == pytest.approx(0.25, abs=1e-4) and match.overlap == 79_000 / 4_000
    assert correlation.correlate(x_T, -x_T, 0.1) == (pytest.approx(1), 0.0, 20.0)
    assert correlation.correlate(x_T, np.zeros_like(x_T), 0.0).correlation == 0


@pytest.mark.parametrize("samples", [0, 0.5, 3.3])
def test_fractions_of_a_sample(samples: float) -> None:
    """White noise, delayed by turning the phases of its spectrum."""
    x_T = RandomState(1).randn(60_000)
    turns = np.exp(-2j * np.pi * samples * np.fft.rfftfreq(len(x_T)))
    y_T = np.fft.irfft(np.fft.rfft(x_T) * turns)
    match = correlation.correlate(x_T.astype(np.float32), y_T.astype(np.float32), 0.0)
    assert match.correlation > 0.98
    assert match.shift == pytest.approx(-samples / 4_000, abs=0.1 / 4_000)


def test_the_benchmark_runs(tmp_path: Path, python) -> None:
    done = python("benchmarks.duplicates", "--tracks", "20", cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "precision of chromaprint alone" in done.stdout
