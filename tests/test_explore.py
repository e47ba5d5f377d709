"""`zoo.explore`: each measure against what is known of the audio, and the command as it is run."""

import io
import subprocess
import time
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from conftest import Run
from trained import GENRES, sound, train, write_library
from zoo import explore
from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.exploring import against, counts, measures, space, spectrum, tonality
from zoo.exploring import sample as sampling

RATE = measures.RATE


def sine(hz: float, peak: float, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def int16(x_T: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x_T * 2**15), -(2**15), 2**15 - 1).astype(np.int16)


def pink(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that falls by 3 dB an octave, as music does roughly."""
    count = round(seconds * RATE)
    white_F = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    x_T = np.fft.irfft(white_F / np.sqrt(np.maximum(1, np.arange(len(white_F)))), count)
    return 0.5 * x_T / np.abs(x_T).max()


def values(x_T: np.ndarray) -> dict[str, float]:
    return measures.measure(int16(x_T), len(x_T) / RATE).values


# ---- measures


@pytest.mark.parametrize("peak_db", [0, -6, -20, -40])
def test_loudness_of_the_sine_that_the_standard_defines_it_by(peak_db: float) -> None:
    """BS.1770: a sine of 997 Hz at 0 dBFS in one front channel has -3.01 LKFS."""
    found = values(sine(997, 10 ** (peak_db / 20)))
    assert found["loudness"] == pytest.approx(peak_db - 3.01, abs=0.05)
    assert found["peak"] == pytest.approx(peak_db, abs=0.01)


def test_what_is_too_short_or_silent_has_no_loudness() -> None:
    assert np.isnan(measures.loudness(np.ones(RATE // 4, np.float32)))
    assert np.isnan(measures.loudness(np.zeros(RATE, np.float32)))


def test_clipping_is_runs_at_full_scale() -> None:
    samples_T = np.zeros(1000, np.int16)
    samples_T[[10, 20, 21]] = 2**15 - 1  # single peaks
    assert measures.clipped(samples_T) == 0
    samples_T[100:140], samples_T[200:210] = 2**15 - 1, -(2**15)
    assert measures.clipped(samples_T) == 0.05
    loud = values(3 * sine(200, 1.0))["clipped"]  # |sin| > 1/3
    assert loud == pytest.approx(100 * (1 - 2 / np.pi * np.arcsin(1 / 3)), abs=1)
    assert values(sine(200, 0.9))["clipped"] == 0


def test_silence_is_a_share_of_time() -> None:
    x_T = np.concatenate([pink(3), np.zeros(RATE)])
    assert values(x_T)["silence"] == pytest.approx(25, abs=1)


def test_level_range_is_that_of_a_step() -> None:
    x_T = np.concatenate([sine(500, 0.5), sine(500, 0.05)])
    assert values(x_T)["level_range"] == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000])
def test_upsampling_shows_in_the_bandwidth(rate: int) -> None:
    x_T = soxr.resample(soxr.resample(pink(4), RATE, rate), rate, RATE)
    assert values(x_T)["bandwidth"] * 1000 == pytest.approx(rate / 2, rel=0.06)


def test_a_whole_band_is_found_in_noise_and_not_in_a_whistle() -> None:
    assert values(pink(4))["bandwidth"] > 21.5
    low_T = soxr.resample(soxr.resample(pink(4), RATE, 11_025), 11_025, RATE)
    whistle_T = low_T + sine(15_625, 0.01)[: len(low_T)]
    assert values(whistle_T)["bandwidth"] < 6
    assert values(0.001 * pink(4))["bandwidth"] < values(pink(4))["bandwidth"] + 0.1


def test_an_mp3_of_a_low_rate_shows_in_the_bandwidth() -> None:
    stream = io.BytesIO()
    soundfile.write(
        stream, pink(4), RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.98
    )
    mp3_T, _ = soundfile.read(io.BytesIO(stream.getvalue()))
    assert values(mp3_T)["bandwidth"] < 18 < values(pink(4))["bandwidth"]


def test_the_middle_of_a_long_track_is_measured() -> None:
    samples_T = np.arange(100 * RATE) // RATE
    middle_T = measures.middle(samples_T)
    assert len(middle_T) == 60 * RATE
    assert (middle_T[0], middle_T[-1]) == (20, 79)
    assert len(measures.middle(samples_T[: 5 * RATE])) == 5 * RATE


def test_thirds_of_octaves_are_shares_of_the_power() -> None:
    shares = spectrum.thirds(*spectrum.mean_power(sine(1000, 0.3), RATE))
    assert spectrum.CENTRES[shares.argmax()] == 1000
    assert shares.max() == pytest.approx(0, abs=0.1)
    noise = spectrum.thirds(*spectrum.mean_power(pink(8), RATE))
    assert np.ptp(noise[6:-1]) < 2  # pink noise has the same power in each


@pytest.mark.parametrize("beats", [80, 100, 120, 150])
def test_the_tempo_of_clicks(beats: float) -> None:
    times = np.arange(0, 12, 60 / beats)
    x_T = librosa.clicks(times=times, sr=RATE, length=12 * RATE)
    assert values(0.5 * x_T)["tempo"] == pytest.approx(beats, rel=0.03)


def test_a_tempo_is_not_made_up() -> None:
    assert np.isnan(values(pink(2))["tempo"])  # too short


@pytest.mark.parametrize("tonic", [60, 64, 69])
@pytest.mark.parametrize(
    ("mode", "chords"),
    [
        ("major", [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)]),
        ("minor", [(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)]),
    ],
)
def test_the_key_of_a_cadence(tonic: int, mode: str, chords: list[tuple[int, ...]]) -> None:
    x_T = np.concatenate(
        [
            sum(
                sine(440 * 2 ** ((tonic + note - 69) / 12) * h, 0.1 / h, 1.0)
                for note in chord
                for h in (1, 2, 3)
            )
            for chord in chords
        ]
    )
    found = measures.measure(int16(x_T), 4.0).key
    assert found.name == f"{tonality.PITCHES[tonic % 12]} {mode}"


def test_noise_has_no_clear_key() -> None:
    assert measures.measure(int16(pink(4)), 4.0).key.name == tonality.UNCLEAR
    assert tonality.key(np.ones(12)).name == tonality.UNCLEAR


def test_every_profile_is_found_in_itself() -> None:
    names = [
        tonality.key(np.roll(p, i)).name
        for p in (tonality.MAJOR, tonality.MINOR)
        for i in range(12)
    ]
    assert names == list(tonality.KEYS)


@pytest.mark.parametrize("length", [0.1, 0.3, 1.0])
def test_short_tracks_can_be_measured(length: float) -> None:
    found = measures.measure(int16(sine(440, 0.5, length)), length)
    assert np.isfinite(found.features_D).all() and np.isfinite(found.thirds_B).all()
    assert found.values["peak"] == pytest.approx(-6, abs=0.1)


# ---- counts and the sample


def manifest(labels: list[str], artists: list[str] | None = None, split: str = "train") -> Manifest:
    names = [f"{i}.flac" for i in range(len(labels))]
    frame = pd.DataFrame({"track": names, "path": names, "label": labels, "split": split})
    return Manifest("some", frame.assign(artist=artists or [""] * len(labels)))


def test_classes_are_counted() -> None:
    table = counts.by_class(manifest(["a|b", "a", "a", "b|c"], ["x", "x", "y", ""]))
    assert table["tracks"].to_dict() == {"a": 3, "b": 2, "c": 1}
    assert table["artists"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert table["largest"]["a"] == pytest.approx(2 / 3)
    assert np.isnan(table["largest"]["c"])


def test_labels_that_go_together() -> None:
    rows = counts.together(manifest(["a|b", "a", "a", "b|c"])).set_index(["y", "x"])
    assert rows["tracks"]["a", "b"] == rows["tracks"]["b", "a"] == 1
    assert rows["share"]["a", "b"] == pytest.approx(1 / 3)
    assert rows["share"]["c", "b"] == 1 and rows["share"]["c", "a"] == 0


def test_a_sample_is_drawn_the_same_each_time_with_a_few_of_each_class() -> None:
    frame = manifest(["common"] * 5000 + ["rare"] * 3 + ["seldom"] * 9).frame
    drawn = sampling.draw(frame, 200)
    assert drawn["track"].is_unique and drawn.index.is_monotonic_increasing
    assert drawn["label"].value_counts()["rare"] == 3
    assert drawn["label"].value_counts()["seldom"] >= sampling.FEW
    assert len(drawn) == 200
    assert drawn.equals(sampling.draw(frame, 200))
    assert sampling.draw(frame, 10_000) is frame


# ---- hints


def clusters(per_class: int = 40, apart: float = 3.0) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], per_class)
    features_BD = random.normal(size=(len(labels), 10)) + apart * np.repeat(
        np.eye(3, 10), per_class, axis=0
    )
    frame = manifest(labels.tolist(), [f"artist{i % 12}" for i in range(len(labels))]).frame
    return frame, features_BD


def test_planted_wrong_labels_are_found() -> None:
    tracks, features_BD = clusters()
    wrong = np.random.default_rng(1).permutation(len(tracks))[:8]
    true = tracks["label"].copy()
    tracks.loc[wrong, "label"] = tracks["label"].map({"a": "b", "b": "c", "c": "a"})[wrong]
    found = space.doubts(tracks, features_BD, multilabel=False)
    assert found is not None and found.keeps_units and found.accuracy > 0.8
    first = found.table.head(len(wrong))
    hits = first[first["row"].isin(wrong)]
    assert len(hits) >= 6
    assert (hits["looks_like"].to_numpy() == true[hits["row"]].to_numpy()).all()


def test_planted_wrong_tags_are_found() -> None:
    tracks, features_BD = clusters()
    tracks["label"] = tracks["label"] + "|all"
    tracks.loc[[0, 1, 2], "label"] = "c|all"
    found = space.doubts(tracks, features_BD, multilabel=True)
    assert found is not None and found.accuracy is None
    assert "all" not in set(found.table["given"])  # nothing tells it from others
    first = found.table.head(6)
    assert len(first[first["row"].isin([0, 1, 2]) & (first["given"] == "c")]) >= 2


def test_an_artist_is_never_in_training_and_test_unless_a_class_would_be_gone() -> None:
    target = np.repeat([0, 1], 20)
    folds, keeps = space._folds(target, np.tile([f"u{i}" for i in range(10)], 4))
    assert keeps
    for train_rows, test_rows in folds:
        units = np.tile(np.arange(10), 4)
        assert not set(units[train_rows]) & set(units[test_rows])
    folds, keeps = space._folds(target, np.repeat(["one", "two"], 20))  # an artist is a class
    assert not keeps
    assert all(len(set(target[train_rows])) == 2 for train_rows, _ in folds)


def test_outliers_are_remote() -> None:
    _, features_BD = clusters()
    features_BD[17] += 30
    assert space.remoteness(features_BD).argmax() == 17


@pytest.mark.parametrize("count", [5, 12])
def test_a_map_of_few_tracks(count: int) -> None:
    place_B2 = space.tsne(np.random.default_rng(0).normal(size=(count, 4)))
    assert place_B2.shape == (count, 2) and np.isfinite(place_B2).all()


def test_a_map_keeps_groups_apart() -> None:
    _, features_BD = clusters(apart=6)
    place_B2 = space.tsne(features_BD)
    label_B = np.repeat(np.arange(3), 40)
    distance_BB = np.linalg.norm(place_B2[:, None] - place_B2[None], axis=-1)
    np.fill_diagonal(distance_BB, np.inf)
    assert (label_B[distance_BB.argmin(1)] == label_B).mean() > 0.95
    assert np.array_equal(place_B2, space.tsne(features_BD))


def test_how_well_two_libraries_can_be_told_apart() -> None:
    random = np.random.default_rng(0)
    one, alike = random.normal(size=(100, 5)), random.normal(size=(100, 5))
    other, units = random.normal(2, 1, size=(50, 5)), np.arange(200)
    assert abs(space.separability(one, alike, units) - 0.5) < 0.15
    assert space.separability(one, other, units[:150]) > 0.95
    same = space.separability(one, one[:60], np.r_[units[:100], units[:60]])
    assert abs(same - 0.5) < 0.15


def test_differences_are_in_pooled_deviations() -> None:
    nothing = {name: [0.0, 0.0] for name in measures.MEASURES}
    here = pd.DataFrame({**nothing, "loudness": [-10.0, -12.0]})
    there = pd.DataFrame({**nothing, "loudness": [-20.0, -22.0]})
    first = against.differences(here, there).iloc[0]
    assert first["measure"] == "loudness"
    assert first["deviations"] == pytest.approx(10 / np.sqrt(2))


# ---- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with wrong labels, a broken file and an evil name, and a model of it."""
    made = tmp_path_factory.mktemp("explore")
    write_library(made / "music", seconds=2)
    train(made)
    write_library(made / "new", per_genre=8, seconds=2)
    (made / "new/tone/broken.mp3").write_bytes(b"no music")
    x_T = sound("hiss", 2, seed=5)
    soundfile.write(made / "new/tone/<img src=x onerror=alert(1)>.flac", x_T, 16_000)
    return made


def test_the_command(folder: Path, python: Run) -> None:
    options = ["dataset=folder", "dataset.path=new", "--model", "run", "--against", "run"]
    done = python("zoo.explore", *options, "--out", "page.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "page.html: 26 tracks" in done.stdout
    assert "1 files cannot be used" in done.stderr
    text = (folder / "page.html").read_text("utf-8")
    assert "<img src=x" not in text and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "broken.mp3" in text
    assert "The audio of all 26 tracks was measured." in text
    assert "Of each track it is 0 % of samples." in text and 'data-chart="clipped"' not in text
    assert "The classes are those that the model knows." in text
    assert "tells the two apart with an area under the curve of" in " ".join(text.split())
    assert text.count("data:audio/mpeg") >= 3


def test_a_library_whose_run_has_lost_its_audio(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "music").rename(folder / "gone")
    try:
        options = ["dataset=folder", "dataset.path=new", "--against", "run", "--out", "lost.html"]
        explore.main(options)
    finally:
        (folder / "gone").rename(folder / "music")
    text = (folder / "lost.html").read_text("utf-8")
    assert "The tracks that it was trained on cannot be measured" in text
    assert "The mean probability of its most probable class" in text


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A manifest of 100,000 tracks with several tags each; all are links to a few files."""
    for i, genre in enumerate(GENRES):
        soundfile.write(tmp_path / f"{genre}.flac", sound(genre, 1, seed=i), 16_000)
    random = np.random.default_rng(0)
    tags = [f"tag{i:02d}" for i in range(40)]
    genres = random.choice(GENRES, 100_000)
    several = [f"{genre}|{'|'.join(random.choice(tags, 2))}" for genre in genres]
    artists = [f"artist{i}" for i in random.integers(0, 9000, 100_000)]
    paths = [f"some/folder/of/files/{i:06d}.flac" for i in range(100_000)]
    frame = pd.DataFrame({"path": paths, "label": several, "artist": artists, "genre": genres})
    folder = tmp_path / "some/folder/of/files"
    folder.mkdir(parents=True)
    drawn = sampling.draw(Manifest("large", frame.assign(track=paths)).frame, 60)
    for path, genre in zip(drawn["path"], drawn["genre"], strict=True):
        (tmp_path / path).symlink_to(tmp_path / f"{genre}.flac")
    frame.to_parquet(tmp_path / "large.parquet")
    return tmp_path


@pytest.mark.slow
def test_a_hundred_thousand_tracks(large: Path, python: Run) -> None:
    began = time.monotonic()
    options = ["dataset=manifest", "dataset.path=large.parquet", "--sample", "60"]
    done = python("zoo.explore", *options, cwd=large)
    assert done.returncode == 0, done.stderr
    text = (large / "explore.html").read_text("utf-8")
    assert "60 of 100,000 tracks, drawn at random" in " ".join(text.split())
    assert "Labels that go together" in text
    assert len(text) < 10e6
    assert time.monotonic() - began < 90


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset=folder"], "dataset.path is not set"),
        (["dataset=foldr"], "dataset=foldr is unknown"),
        (["dataset=folder", "dataset.path=nowhere"], "nowhere is not a folder"),
        (["dataset=folder", "dataset.path=new", "--sample", "1"], "--sample 1 must be"),
        (["dataset=folder", "dataset.path=new", "--out", "a.txt"], "must end in .html"),
        (["dataset=folder", "dataset.path=new", "--against", "new"], "result.json cannot be read"),
        (["dataset=folder", "dataset.path=new", "--model", "new"], "new holds no model"),
        (["dataset=folder", "dataset.path=new", "--modle", "x"], "'--modle' is not of the form"),
    ],
)
def test_wrong_input_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=said):
        explore.main(arguments)


def test_wrong_input_ends_with_exit_code_2(folder: Path, python: Run) -> None:
    done = python("zoo.explore", "dataset=folder", "dataset.path=nowhere", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_files_that_are_all_gone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["a", "b"]})
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError, match=r"none of the 2 files .* does not exist"):
        explore.main(["dataset=manifest", f"dataset.path={tmp_path / 'm.csv'}"])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "NEEDED", ("no_such_module",))
    with pytest.raises(InputError, match=r"needs no_such_module.*genre-zoo\[explore\]"):
        explore.main(["dataset=synth"])


def test_help_needs_nothing_that_is_extra(python: Run, tmp_path: Path) -> None:
    done: subprocess.CompletedProcess[str] = python("zoo.explore", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--against" in done.stdout
