"""Variations of composed tracks differ in what they say alone; and what is made of their scores."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.image import imread
from omegaconf import OmegaConf

from benchmarks import measure, variations
from benchmarks.summaries import listening
from benchmarks.variations import Variation
from conftest import TINY_SYNTH, Run
from zoo.datasets import synth, synth_score
from zoo.datasets.synth_score import Piece, render
from zoo.errors import InputError
from zoo.results import Result, read_result

ROOT = Path(__file__).parents[1]
PARTS = tuple(synth.compose("artist00", "rock", 0).piece.voicing.levels)
DRUMS = {"kick", "snare", "hat", "clave"}
SECONDS = 6.0


def changed(genre: str, change: str) -> Variation:
    track = synth.compose("artist02", genre, 0)
    (found,) = (v for v in variations.variations(track) if v.change == change)
    return found


def events(piece: Piece, noise: str) -> list[tuple[str, int, np.ndarray]]:
    """Return what `render` adds up: part, place in samples, and sound, before tilt and peak."""
    added: list[tuple[str, int, np.ndarray]] = []
    parts: list[str] = []
    inner, add = synth_score._events, synth_score._add

    def noted(*arguments: object) -> Iterator[tuple[str, float, np.ndarray]]:
        for part, position, sound in inner(*arguments):
            parts.append(part)
            yield part, position, sound

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth_score, "_events", noted)
        patch.setattr(
            synth_score,
            "_add",
            lambda total, sound, at: (added.append((parts[-1], at, sound)), add(total, sound, at)),
        )
        render(piece, SECONDS, synth.random_of("noise", noise))
    return added


def pair(genre: str, change: str) -> tuple[list, list]:
    """Return the events of a track and of its variation."""
    found = changed(genre, change)
    return events(found.track.piece, found.track.name), events(found.piece, found.noise)


def parts_that_differ(one: list, other: list) -> set[str]:
    """Return the parts of which an event sounds different or comes at another time."""
    assert [part for part, *_ in one] == [part for part, *_ in other]
    both = zip(one, other, strict=True)
    return {a[0] for a, b in both if a[1] != b[1] or not np.array_equal(a[2], b[2])}


def test_the_kit_changes_drums_alone_and_in_sound_alone() -> None:
    one, other = pair("rock", "kit")
    assert parts_that_differ(one, other) == DRUMS
    assert [at for _, at, _ in one] == [at for _, at, _ in other]
    found = changed("rock", "kit")
    assert found.lure != "rock" and found.expected == "rock"
    base = synth.draw_kit(synth.random_of("kit", found.lure))
    ratio = np.array(list(asdict(found.piece.kit).values())) / list(asdict(base).values())
    assert ((ratio > 0.5) & (ratio < 1.5)).all()  # as `compose` varies the kits it takes


def test_the_key_changes_pitches_alone() -> None:
    one, other = pair("funk", "key")
    assert parts_that_differ(one, other) == {"bass", "chords", "lead"}
    assert [(at, len(x)) for _, at, x in one] == [(at, len(x)) for _, at, x in other]
    found = changed("funk", "key")
    assert found.piece.key != found.track.piece.key and 0 <= found.piece.key < 12


def test_the_mix_changes_levels_tilt_and_peak_alone() -> None:
    one, other = pair("rumba", "mix")
    gains = {}
    for (part, at, x), (_, there, y) in zip(one, other, strict=True):
        assert at == there
        ratio = (y @ x) / (x @ x)  # the same sound, louder or softer
        np.testing.assert_allclose(y, ratio * x, atol=1e-12)
        gains.setdefault(part, ratio)
        assert gains[part] == pytest.approx(ratio)
    assert len({round(gain, 9) for gain in gains.values()}) == len(PARTS)
    found = changed("rumba", "mix")
    own = found.track.piece
    assert (found.piece.tilt, found.piece.peak) != (own.tilt, own.peak)
    assert replace(found.piece, tilt=own.tilt, peak=own.peak, voicing=own.voicing) == own
    assert replace(found.piece.voicing, levels=own.voicing.levels) == own.voicing


def test_the_tempo_moves_everything_alike_and_stays_in_its_range() -> None:
    one, other = pair("ballad", "tempo")
    found = changed("ballad", "tempo")
    ratio = found.track.piece.tempo / found.piece.tempo
    pause = found.piece.pause * synth.SAMPLE_RATE
    for (part, at, _), (there_part, there, _) in zip(one, other, strict=False):
        assert part == there_part
        late = (at - pause) * ratio + pause
        assert there == pytest.approx(late, abs=0.005 * synth.SAMPLE_RATE)  # human timing stays
    tempos = [
        variations.at_another_tempo(synth.compose("artist02", "rock", number)).tempo
        for number in range(40)
    ]
    assert synth.TEMPO[0] <= min(tempos) and max(tempos) <= synth.TEMPO[1]


def test_the_playing_changes_noise_timing_and_velocities_alone() -> None:
    found = changed("rock", "playing")
    assert found.piece == found.track.piece and found.noise != found.track.name
    one, other = pair("rock", "playing")
    assert [part for part, *_ in one] == [part for part, *_ in other]
    assert max(abs(a[1] - b[1]) for a, b in zip(one, other, strict=True)) <= 129  # 8 ms


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("swing", {"hat", "clave", "lead"}),  # the others have no notes in the middle of a beat
        ("syncopation", {"kick", "snare"}),
        ("walking bass", {"bass"}),
        ("mode and chord rate", {"bass", "chords", "lead"}),
    ],
)
def test_factors_change_their_parts_alone(change: str, parts: set[str]) -> None:
    for genre in synth.CONTRASTS[change]:
        assert parts_that_differ(*pair(genre, change)) == parts


def test_factors_lead_to_the_other_genre_of_their_pair() -> None:
    for genre in synth.GENRES:
        found = [*variations.variations(synth.compose("artist02", genre, 1))]
        assert len({v.change for v in found}) == len(found)
        for variation in found:
            assert variation.piece.factors == synth.GENRES[variation.expected]
            if variation.change in synth.CONTRASTS:
                pair = {genre, variation.expected}
                assert pair == set(synth.CONTRASTS[variation.change])
                own = variation.track.piece
                assert replace(variation.piece, factors=own.factors) == own
            else:
                assert variation.expected == genre
    drawn = {v.change for v in found} - set(synth.CONTRASTS)
    assert drawn == set(variations.DRAWN)


def test_what_is_not_changed_equals_the_data_sets_own_file(tmp_path: Path) -> None:
    manifest = synth.load(tmp_path, artists=4, tracks=1, seconds=1.0)
    row = manifest.frame[(manifest.frame["hybrid"] == "") & (manifest.frame["label"] == "rock")]
    name, path = row.iloc[0][["track", "path"]]
    track = synth.compose(name.partition("/")[0], "rock", 0)
    unchanged = Variation("none", track, track.piece, "rock", track.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variations, "variations", lambda track: [unchanged])
        rendered = variations.load(tmp_path, [track], 1.0).frame["path"][0]
    assert np.array_equal(*(soundfile.read(file, dtype="int16")[0] for file in (path, rendered)))
    assert Path(rendered).read_bytes() == Path(path).read_bytes()


def test_variations_are_rendered_once(tmp_path: Path) -> None:
    tracks = [synth.compose("artist02", "rock", 0)]
    first = variations.load(tmp_path, tracks, 0.5).frame
    assert (first["change"].value_counts() == 1).all() and len(first) == 5 + 5
    times = [Path(path).stat().st_mtime_ns for path in first["path"]]
    second = variations.load(tmp_path, tracks, 0.5).frame
    assert [Path(path).stat().st_mtime_ns for path in second["path"]] == times


@pytest.fixture(scope="module")
def folder(python: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listening") / "run"
    done = python(
        *("zoo.train", *TINY_SYNTH, "model=linear", "epochs=2", "threads=1"),
        f"output_dir={folder}",
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_versions_are_scored_as_the_run_scores(folder: Path) -> None:
    measure.main([str(folder), "listening"])
    table, result = measure.read(folder, "listening"), read_result(folder)
    classes = [f"p:{name}" for name in result.protocol.classes]
    own = pd.read_parquet(folder / "scores.parquet").set_index("track")
    original = table[table["change"] == "original"].set_index("track")
    assert 8 < len(original) <= 16  # two artists, hybrids left out
    np.testing.assert_allclose(original[classes], own.loc[original.index, classes], atol=1e-5)
    np.testing.assert_allclose(table[classes].sum(1), 1, atol=1e-5)
    assert all(table[classes].dtypes == np.float32)
    assert set(table["change"]) == {"original", *synth.CONTRASTS, *variations.DRAWN}
    differs = table["expected"] != table["label"]
    assert (differs == table["change"].isin(synth.CONTRASTS)).all()
    assert ((table["lure"] != "") == (table["change"] == "kit")).all()
    summary = listening.summarize(folder, result)
    assert not summary[["what", "figure"]].duplicated().any()
    assert set(summary["what"]) == set(table["change"])
    shift = summary[summary["figure"] == "shift"].set_index("what")
    assert (shift["num_tracks"] == table["change"].value_counts()[shift.index]).all()
    assert ((shift["low"] <= shift["value"]) & (shift["value"] <= shift["high"])).all()


def test_a_run_on_other_data_is_refused(folder: Path) -> None:
    from benchmarks.measures.listening import measure as listen
    from zoo.opened import open_run

    other = OmegaConf.create({"dataset": {"_target_": "zoo.datasets.manifest.load"}})
    run = replace(open_run(folder), config=other)
    with pytest.raises(InputError, match="dataset=synth"):
        listen(run)


def scripted(folder: Path, answers: dict[str, tuple[str, str, str, float]]) -> Result:
    """Write a table in which change -> (label, expected, answer, its probability), by two artists;
    originals are recognised with certainty, but that of a third artist, who has only swing."""
    classes, rows = ["funk", "rock", "shuffle"], []
    for artist in ("a", "b", "c"):
        versions = {"original": ("rock", "rock", "rock", 1.0), **answers}
        for change, (label, expected, answer, sure) in versions.items():
            if artist == "c":
                if change not in ("original", "swing"):
                    continue
                answer = "funk"
            row = {"track": artist, "artist": artist, "label": label, "change": change}
            row |= {"expected": expected, "lure": "funk" if change == "kit" else ""}
            rows.append(row | {f"p:{c}": sure if c == answer else (1 - sure) / 2 for c in classes})
    measure.write(measure.file_of(folder, "listening"), pd.DataFrame(rows))

    class Known:
        class protocol:  # noqa: N801
            pass

    Known.protocol.classes = classes
    return Known  # type: ignore[return-value]


def test_figures_of_a_known_table(tmp_path: Path) -> None:
    answers = {
        "swing": ("rock", "shuffle", "shuffle", 0.8),
        "kit": ("rock", "rock", "funk", 0.6),
        "key": ("rock", "rock", "rock", 0.9),
    }
    summary = listening.summarize(tmp_path, scripted(tmp_path, answers))
    value = summary.set_index(["what", "figure"])["value"]
    assert value["original", "accuracy"] == pytest.approx(2 / 3)
    assert value["swing", "followed"] == value["swing", "changed"] == 1  # of recognised originals
    assert value["swing", "shift"] == pytest.approx((0.9 + 0.9 + 0.2) / 3)
    assert value["kit", "lured"] == value["kit", "changed"] == 1
    assert value["kit", "shift"] == pytest.approx(0.8)
    assert value["key", "changed"] == 0 and value["key", "shift"] == pytest.approx(0.1)
    assert ("key", "followed") not in value.index and ("key", "lured") not in value.index
    tracks = summary.set_index(["what", "figure"])["num_tracks"]
    assert tracks["swing", "shift"] == 3 and tracks["swing", "followed"] == 2


def test_the_picture_has_a_panel_for_each_model(tmp_path: Path) -> None:
    answers = {
        "swing": ("rock", "shuffle", "shuffle", 0.8),
        "kit": ("rock", "rock", "funk", 0.6),
        "key": ("rock", "rock", "rock", 0.9),
    }
    summary = listening.summarize(tmp_path, scripted(tmp_path, answers))
    for number in (1, 5):
        file = tmp_path / f"{number}.png"
        listening.draw(file, {f"model {i}": summary for i in range(number)})
        assert imread(file).std() > 0.05
    height, width, _ = imread(file).shape
    assert width > 1.2 * height
