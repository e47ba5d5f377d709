"""The composed data set: the same everywhere, and different where it says so."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy._core._multiarray_umath import __cpu_dispatch__

from zoo.datasets import synth
from zoo.datasets.synth_score import Factors, _events, render
from zoo.datasets.synth_sounds import SAMPLE_RATE, draw_shots
from zoo.errors import InputError

GOLDEN = {
    ("artist00", "rock", 0): "2a295379b78869f5",
    ("artist17", "rumba", 2): "1a21c032e9a8b393",
    ("artist42", "waltz", 1): "053832838d1923cf",
    ("artist63", "jazz", 0): "e9718646602e60de",
}


def samples(name: tuple[str, str, int], seconds: float = 8.0) -> np.ndarray:
    track = synth.compose(*name)
    return render(track.piece, seconds, synth.random_of("noise", track.name))


@pytest.mark.parametrize("name", GOLDEN, ids=lambda name: "-".join(map(str, name)))
def test_samples_are_the_same_everywhere(name: tuple[str, str, int]) -> None:
    x = samples(name)
    assert x.dtype == np.int16 and len(x) == 8 * SAMPLE_RATE
    assert hashlib.sha256(x.tobytes()).hexdigest()[:16] == GOLDEN[name]


def test_samples_do_not_depend_on_the_instructions_of_the_processor() -> None:
    """NumPy with none of the instructions that it would choose here computes the same."""
    name = next(iter(GOLDEN))
    code = f"""
import hashlib, test_synth
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
assert not any(__cpu_features__[name] for name in __cpu_dispatch__)
print(hashlib.sha256(test_synth.samples({name!r}).tobytes()).hexdigest()[:16])
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == GOLDEN[name]


def differing(a: str, b: str) -> set[str]:
    one, other = asdict(synth.GENRES[a]), asdict(synth.GENRES[b])
    return {name for name in one if one[name] != other[name]}


def test_genres_are_points_in_the_space_of_factors() -> None:
    assert len(synth.GENRES) == 8 and len(asdict(Factors())) == 8
    pairs = [(a, b) for a in synth.GENRES for b in synth.GENRES if a < b]
    assert all(differing(*pair) for pair in pairs)
    assert sum(len(differing(*pair)) == 1 for pair in pairs) >= 6
    named = [len(differing(*pair)) for pair in synth.CONTRASTS.values()]
    assert sorted(named) == [1, 1, 1, 1, 1, 1, 2]
    assert set().union(*(differing(*p) for p in synth.CONTRASTS.values())) == set(asdict(Factors()))


@pytest.fixture(scope="module")
def tracks() -> list[synth.Track]:
    artists = sorted(synth.artist_splits(64))
    return [synth.compose(a, g, n) for a in artists for g in synth.GENRES for n in range(3)]


def test_shares(tracks: list[synth.Track]) -> None:
    assert len(tracks) == 1536 and len({t.name for t in tracks}) == 1536
    assert np.mean([bool(t.hybrid) for t in tracks]) == pytest.approx(synth.HYBRIDS, abs=0.015)
    typical = [t.kit_of in synth.GENRES for t in tracks]
    assert np.mean(typical) == pytest.approx(synth.TYPICAL_KITS, abs=0.03)
    pure = [t for t in tracks if not t.hybrid]
    assert all(t.piece.factors == synth.GENRES[t.label] for t in pure)
    assert all(t.kit_of in (t.label, t.artist) for t in pure)


def test_the_rest_has_one_distribution_for_all_genres(tracks: list[synth.Track]) -> None:
    for name in ("tempo", "key", "tilt", "peak", "pause"):
        values = {g: [] for g in synth.GENRES}
        for track in tracks:
            values[track.label].append(getattr(track.piece, name))
        means = [np.mean(v) for v in values.values()]
        spread = np.std(np.concatenate(list(values.values())))
        assert np.ptp(means) < 0.4 * spread, name  # 192 tracks a genre: 0.07 each


def test_hearing_the_form_takes_more_than_six_seconds() -> None:
    """Two tracks that differ in the form alone are the same, sample for sample, until then."""
    piece = replace(synth.compose("artist07", "rock", 0).piece, tempo=max(synth.TEMPO), pause=0.0)
    one, other = (
        render(replace(piece, factors=synth.GENRES[g]), 10.0, np.random.RandomState(0)).astype(
            float
        )
        for g in synth.CONTRASTS["form"]
    )
    one, other = (x / np.abs(x[: 6 * SAMPLE_RATE]).max() for x in (one, other))  # both had a peak
    difference = np.abs(one - other) > 0.001
    assert not difference[: 6 * SAMPLE_RATE].any()
    assert difference[int(6.2 * SAMPLE_RATE) :].mean() > 0.2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"anthem_0.flac cannot be written: .* another cache_dir"):
        synth.load(tmp_path / "file", artists=1, tracks=1, seconds=0.5)


def test_artists_are_split_40_8_16() -> None:
    counts = Counter(synth.artist_splits(64).values())
    assert counts == {"train": 40, "validation": 8, "test": 16}
    assert set(synth.artist_splits(8).values()) == {"train", "validation", "test"}


def test_hat_and_chords_rest_in_the_thin_section() -> None:
    piece = synth.compose("artist07", "anthem", 0).piece
    shots = draw_shots(piece.kit, np.random.RandomState(0))
    for bar, section in enumerate(piece.factors.form):
        parts = {part for part, _, _ in _events(piece, bar, shots)}
        assert parts >= {"kick", "snare", "clave", "bass", "lead"}
        assert (
            parts >= {"hat", "chords"} if section != piece.thin else not parts & {"hat", "chords"}
        )


@pytest.mark.parametrize("by", synth.CONTRASTS)
def test_pairs_sound_different_in_what_they_should(by: str) -> None:
    """The same draws in two genres: the tracks are equal but for the factor."""
    a, b = synth.CONTRASTS[by]
    piece = synth.compose("artist07", "rock", 0).piece
    one, other, same = (
        render(replace(piece, factors=synth.GENRES[g]), 9.0, np.random.RandomState(0)).astype(float)
        for g in (a, b, a)
    )
    assert np.array_equal(one, same)
    assert np.abs(one - other).mean() > 0.02 * np.abs(one).mean()
    assert np.std(one) == pytest.approx(np.std(other), rel=0.5)  # not louder


def test_load_writes_once_and_names_every_factor(tmp_path: Path) -> None:
    manifest = synth.load(tmp_path, artists=4, tracks=1, seconds=1.0)
    frame = manifest.frame
    assert len(frame) == 4 * 8 and manifest.classes == tuple(sorted(synth.GENRES))
    assert set(asdict(Factors())) | {"tempo", "key", "hybrid", "kit_of", "tilt", "peak"} <= set(
        frame
    )
    assert frame.groupby("artist")["split"].nunique().max() == 1
    first = Path(frame["path"][0])
    x, rate = soundfile.read(first, dtype="int16")
    assert rate == SAMPLE_RATE and len(x) == SAMPLE_RATE
    assert np.array_equal(x, samples(("artist00", "anthem", 0), 1.0))
    before = first.stat().st_mtime_ns
    synth.load(tmp_path, artists=4, tracks=1, seconds=1.0)
    assert first.stat().st_mtime_ns == before
