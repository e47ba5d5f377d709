"""The audit finds what was planted, says nothing of what is clean, and every run carries it."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import TINY_SYNTH, Run, torchrun
from leaderboard.table import make_table, to_markdown
from zoo.audit import Audit, audit, main, summary, write
from zoo.config import compose
from zoo.errors import InputError
from zoo.excerpts import sources
from zoo.findings import Case, Finding
from zoo.pooling import pool
from zoo.prepare import decode_tracks, load_manifest
from zoo.results import read_result
from zoo.train import main as train

RATE = 16_000
QUICK = ("model=linear", "epochs=1", "min_steps=1", "threads=1", "clip_seconds=0.5")
needs_duplicates = pytest.mark.skipif(
    importlib.util.find_spec("zoo.duplicates") is None, reason="zoo.duplicates is not there"
)


def write_noise(file: Path, seed: int, seconds: float = 0.5) -> Path:
    """Write noise of its own for each seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.RandomState(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(file, x, RATE)
    return file


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder with 6 tracks of each class in each split, in which nothing is wrong."""
    places = [f"{s}/{c}" for s in ("train", "validation", "test") for c in ("jazz", "rock")]
    for number, place in enumerate(places):
        for i in range(6):
            write_noise(tmp_path / "music" / place / f"{number}{i}.wav", 10 * number + i)
    return tmp_path / "music"


def examine(*values: str) -> Audit:
    """Audit as a training run does."""
    config = compose("audit", values)
    listed = load_manifest(config)
    return audit(listed, decode_tracks(listed, config, RATE))


def folder(root: Path, *values: str) -> Audit:
    return examine("dataset=folder", f"dataset.path={root}", *values)


def table(root: Path, rows: list[dict[str, Any]], *values: str) -> Audit:
    """Audit a manifest of noise; a row may name the columns of a manifest."""
    for number, row in enumerate(rows):
        row.setdefault("path", f"{number:03d}.wav")
        if not (root / row["path"]).exists():
            write_noise(root / row["path"], number)
    pd.DataFrame(rows).to_csv(root / "music.csv", index=False)
    return examine("dataset=manifest", f"dataset.path={root / 'music.csv'}", *values)


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Return rows of a manifest that differ in the columns given, of all classes in all splits."""
    clean = [
        {"label": label, "split": split, "artist": f"{split}{label}{i}"}
        for split in ("train", "validation", "test")
        for label in ("jazz", "rock")
        for i in range(6)
    ]
    return [row | {c: of(i, row) for c, of in columns.items()} for i, row in enumerate(clean)]


def only(found: Audit) -> Finding:
    """Return the one thing that is warned of."""
    assert len(found.warnings) == 1, [found.line(f) for f in found.warnings]
    return found.warnings[0]


def notes(found: Audit, kind: str) -> list[Finding]:
    return [f for f in found.findings if f.is_note and f.kind == kind]


def splits_of(finding: Finding) -> list[dict[str, str]]:
    """Return the files' names and what is said of them, by case."""
    return [{Path(p).name: said for p, said in case.paths.items()} for case in finding.cases]


# --- the same audio


def test_nothing_is_wrong(music: Path) -> None:
    found = folder(music)
    assert found.warnings == [] and found.num_affected == 0 and found.num_test == 12
    assert [f.kind for f in found.findings] == ["artist"]  # a note: they are unknown
    assert "of 36 of 36 tracks (12 of 12 test tracks) is unknown" in found.findings[0].sentence


def test_one_file_under_two_names(music: Path) -> None:
    shutil.copy(music / "train/rock/10.wav", music / "test/rock/other.wav")
    x, rate = soundfile.read(music / "train/jazz/02.wav", dtype="int16")
    soundfile.write(music / "test/jazz/other.flac", x, rate)  # another file, the same samples
    shutil.copy(music / "train/jazz/03.wav", music / "train/jazz/again.wav")  # in one split
    found = folder(music)
    finding = only(found)
    assert finding.kind == "audio"
    assert splits_of(finding) == [
        {"other.flac": "test", "02.wav": "train"},
        {"other.wav": "test", "10.wav": "train"},
    ]
    assert finding.affected == ("test/jazz/other.flac", "test/rock/other.wav")
    assert "2 of 36 recordings" in found.line(finding)
    assert found.line(finding).endswith(": 2 of 14 test tracks (14.3%)")


def test_audio_in_training_and_validation_only(music: Path) -> None:
    shutil.copy(music / "train/rock/10.wav", music / "validation/rock/other.wav")
    finding = only(folder(music))
    assert finding.affected == () and finding.sentence.endswith(", but not in test")


def test_contradictory_labels(music: Path) -> None:
    shutil.copy(music / "test/rock/50.wav", music / "test/jazz/copy.wav")
    finding = only(folder(music))
    assert finding.kind == "labels" and "1 times" in finding.sentence
    assert splits_of(finding) == [{"copy.wav": "test, jazz", "50.wav": "test, rock"}]
    assert set(finding.affected) == {"test/jazz/copy.wav", "test/rock/50.wav"}


def test_several_labels(tmp_path: Path) -> None:
    labels = ["loud|fast", "loud", "fast"]
    given = rows(label=lambda i, row: labels[i % 3])
    names = {row["split"]: f"{number:03d}.wav" for number, row in enumerate(given)}
    for split, label in (("train", "fast|loud"), ("validation", "loud"), ("test", "fast|loud")):
        given.append({"path": f"copy-{split}.wav", "label": label, "split": split, "artist": split})
    write_noise(tmp_path / "copy-train.wav", 99)
    shutil.copy(tmp_path / "copy-train.wav", tmp_path / "copy-test.wav")
    found = table(tmp_path, given)
    assert only(found).kind == "audio" and only(found).affected == ("copy-test.wav",)
    shutil.copy(tmp_path / names["train"], tmp_path / "copy-validation.wav")  # fast, and loud
    found = table(tmp_path, given)
    assert [f.kind for f in found.warnings] == ["audio", "labels"]
    assert splits_of(found.warnings[1]) == [
        {names["train"]: "train, fast", "copy-validation.wav": "validation, loud"}
    ]
    assert found.warnings[1].affected == ()


@needs_duplicates
def test_near_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = ["dataset=synth", "dataset.artists=8", "dataset.tracks=1", "dataset.seconds=10"]
    frame = load_manifest(compose("audit", values)).frame
    frame = frame[["track", "path", "label", "split", "artist"]]
    taken = frame[frame["split"] == "train"].iloc[[3, 20]]
    copies = [tmp_path / "copy.mp3", tmp_path / "cut.ogg"]
    for path, copy, start in zip(taken["path"], copies, (0, 2 * RATE), strict=True):
        x, rate = soundfile.read(path)
        soundfile.write(copy, 0.5 * x[start:], rate)
    planted = taken.assign(track=["copy", "cut"], path=list(map(str, copies)), split="test")
    planted["label"] = [taken["label"].iloc[0], "waltz"]
    assert taken["label"].iloc[1] != "waltz"
    pd.concat([frame, planted]).to_csv(tmp_path / "music.csv", index=False)
    given = ["dataset=manifest", f"dataset.path={tmp_path / 'music.csv'}"]
    assert {f.kind for f in examine(*given).warnings} == {"artist"}  # quickly: hashes only
    main(compose("audit", [*given, f"output_dir={tmp_path / 'out'}"]))
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    by_kind = {f["kind"]: f for f in content["findings"]}
    assert set(by_kind["near duplicates"]["affected"]) == {"copy", "cut"}
    pairs = [set(case["paths"]) for case in by_kind["near duplicates"]["cases"]]
    assert pairs == [{a, str(b)} for a, b in zip(taken["path"], copies, strict=True)]
    assert by_kind["labels"]["affected"] == ["cut"]
    assert "2 of 2 pairs of near duplicates" in capsys.readouterr().out


# --- the same source


@pytest.mark.parametrize("column", ["artist", "album", "group"])
def test_a_source_in_two_splits(tmp_path: Path, column: str) -> None:
    given = rows(**{column: lambda i, row: f"{row['split']}{i}"})
    given[0][column] = given[-1][column] = given[-2][column] = "Live"
    found = table(tmp_path, given)
    if column == "album":  # by other artists it is another album
        assert found.warnings == []
        given[-1]["artist"] = given[0]["artist"]
        found = table(tmp_path, given)
        assert [f.kind for f in found.warnings] == ["artist", "album"]
        assert found.warnings[1].affected == ("035.wav",)
        return
    finding = only(found)
    assert finding.kind == column and finding.affected == ("034.wav", "035.wav")
    assert [case.name for case in finding.cases] == ["Live"]
    assert finding.sentence.startswith("1 of 34 ")


def test_unknown_artists_are_counted(tmp_path: Path) -> None:
    given = rows(artist=lambda i, row: "" if i % 2 else f"{row['split']}{i}")
    found = table(tmp_path, given)
    assert found.warnings == []
    said = "the artist of 18 of 36 tracks (6 of 12 test tracks) is unknown"
    assert [f.sentence for f in notes(found, "artist")] == [said]
    given[0]["artist"] = given[-2]["artist"] = "Ann"
    assert only(table(tmp_path, given)).sentence.endswith(f"; {said}")


def test_albums_of_unknown_artists(tmp_path: Path) -> None:
    given = rows(artist=lambda i, row: "", album=lambda i, row: "" if i % 5 else "Live")
    finding = only(table(tmp_path, given))
    assert finding.kind == "album" and finding.affected == ("025.wav", "030.wav", "035.wav")


def cut(*names: str, seconds: float = 30.0, label: str = "x") -> set[str]:
    """Return which of the files, all of one length, seem to be pieces."""
    frame = pd.DataFrame({"path": names, "label": label})
    found = sources(frame, np.full(len(names), seconds))
    return set(frame["path"][found != ""])


@pytest.mark.parametrize(
    "names",
    [
        ("f/american_bach-bwv82__i_aria-0-29.mp3", "f/american_bach-bwv82__i_aria-30-59.mp3"),
        ("a/song_0.0_30.0.wav", "a/song_30.0_60.0.wav"),
        ("a/Ab3-xyZ_30000_60000.wav", "a/Ab3-xyZ_60000_90000.wav"),
        ("/music/train/rock/x.chunk3.ogg", "/music/test/rock/x.chunk4.ogg"),
        ("a/Song - Segment 1.mp3", "a/Song - Segment 2.mp3"),
        ("a/one_0.wav", "a/one_1.wav", "a/one_2.wav", "a/two_0.wav", "a/two_1.wav"),
        tuple(f"x/blues.{track:05d}.{i}.wav" for track in range(3) for i in range(10)),
    ],
)
def test_names_of_pieces(names: tuple[str, ...]) -> None:
    assert cut(*names) == set(names)


@pytest.mark.parametrize(
    "names",
    [
        tuple(f"blues/blues.{i:05d}.wav" for i in range(100)),
        tuple(f"{genre}_{i}.wav" for genre in ("blues", "jazz") for i in range(100)),
        tuple(f"{i:03d}.wav" for i in range(20)),
        tuple(f"000/{i:06d}.mp3" for i in range(2, 20)),
        ("cd/1-01.wav", "cd/1-02.wav", "cd/2-01.wav", "cd/2-02.wav"),
        ("a/hits 1990-2000.mp3", "a/hits 2000-2010.mp3"),
        ("a/x.chunk3.wav", "b/x.chunk4.wav"),
        tuple(f"a/my_set_clip_{i:04d}.wav" for i in range(100)),
        ("a/chunk1.wav", "a/chunk2.wav", "a/part1.wav"),
        ("a/Summer of 69.mp3", "a/99 Luftballons.mp3", "a/song\n1.wav", "a/.wav"),
        tuple(f"rock/drummer1_session1_{take}_{(51 + take // 2):04d}.ogg" for take in range(60)),
        ("rock/drummer1_session1_1_0000.ogg", "rock/drummer1_session1_2_0000.ogg"),
    ],
)
def test_names_of_tracks(names: tuple[str, ...]) -> None:
    assert cut(*names) == set()


def test_numbers_after_the_name_of_a_class_or_other_lengths_are_no_pieces() -> None:
    names = [f"a/{base}_{i}.wav" for base in ("rock", "funk", "one") for i in range(3)]
    assert cut(*names, label="Rock|Funk|One") == set() and cut(*names) == set(names)
    songs = pd.DataFrame({"path": names, "label": "x"})
    assert (sources(songs, np.linspace(100, 200, len(names))) == "").all()
    last_is_short = np.tile([30.0, 30.0, 7.0], 3)
    assert (sources(songs, last_is_short) != "").all()


def test_pieces_in_two_splits(music: Path) -> None:
    for split, number, i in (("train", 0, 70), ("train", 1, 71), ("test", 2, 72)):
        for song, seed in (("one", 0), ("two", 10)):
            write_noise(music / split / "rock" / f"{song}_{number}.wav", i + seed)
    write_noise(music / "train/jazz/three-0-1.wav", 90, seconds=1)
    write_noise(music / "validation/jazz/three-1-2.wav", 91, seconds=1)
    found = folder(music)
    finding = only(found)
    assert finding.kind == "chunks"
    assert "3 of 3 recordings that seem to be cut into pieces" in finding.sentence
    assert finding.affected == ("test/rock/one_2.wav", "test/rock/two_2.wav")


# --- classes and files


def test_classes_that_a_split_lacks(tmp_path: Path) -> None:
    def label(i: int, row: dict[str, str]) -> str:
        return {"train": "polka", "validation": "jazz"}.get(row["split"], "") if i % 6 == 0 else ""

    given = rows(label=lambda i, row: label(i, row) or row["label"])
    found = table(tmp_path, given)
    finding = only(found)
    assert finding.kind == "classes" and finding.affected == ()
    assert finding.sentence == "1 of 3 classes have no usable test track"
    assert [case.name for case in finding.cases] == ["polka"]
    (note,) = notes(found, "classes")
    assert note.sentence == "1 of 3 classes have no usable validation track"


def test_a_class_whose_only_test_track_is_silent(music: Path) -> None:
    (music / "train" / "polka").mkdir()
    shutil.copytree(music / "train" / "rock", music / "train" / "polka", dirs_exist_ok=True)
    for number, file in enumerate(sorted((music / "train" / "polka").iterdir())):
        write_noise(file, 200 + number)
    (music / "test" / "polka").mkdir()
    soundfile.write(music / "test/polka/1.wav", np.zeros(RATE), RATE)
    assert "no usable test track" in only(folder(music)).sentence
    write_noise(music / "test/polka/2.wav", 300)
    found = folder(music)
    assert found.warnings == []
    sentences = [f.sentence for f in notes(found, "classes")]
    assert sentences[1] == "1 of 3 classes have fewer than 5 test tracks"
    assert [case.name for case in notes(found, "classes")[1].cases] == ["polka: 1"]


def test_files_that_cannot_be_used(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(music / "test/rock/silent.wav", np.zeros(RATE), RATE)
    (music / "train/rock/empty.wav").touch()
    (music / "train/jazz/a\nb.wav").write_text("no audio")
    found = folder(music)
    assert found.warnings == [] and found.num_test == 12
    (note,) = notes(found, "files")
    assert note.sentence == "3 of 39 files cannot be used (1 of 13 test tracks)"
    said = {reason: paths for paths in splits_of(note) for reason in paths}
    assert {name: splits[name] for name, splits in said.items()} == {
        "silent.wav": "test",
        "empty.wav": "train",
        "a\nb.wav": "train",
    }
    assert "is empty" in {case.name for case in note.cases}
    assert any(case.name.startswith("is silent") for case in note.cases)
    lines = list(summary(found, 3))
    assert any("a\\nb.wav" in line for line in lines) and not any("a\nb" in x for x in lines)


# --- known data


def test_synth_is_clean() -> None:
    found = examine("dataset=synth", *TINY_SYNTH)
    assert found.warnings == [] and found.num_test == 16


def groove(shared: Path, *values: str) -> Audit:
    path = shared / "data" / "groove8" / "manifest.csv"
    return examine("dataset=manifest", f"dataset.path={path}", *values)


def test_groove(shared: Path) -> None:
    listed = pd.read_csv(shared / "data" / "groove8" / "manifest.csv")
    found = groove(shared)
    by_kind = {f.kind: f for f in found.warnings}
    assert set(by_kind) == {"artist", "group"}  # performances are apart
    assert by_kind["group"].sentence.startswith("16 of 52 groups")
    assert by_kind["artist"].sentence.startswith("5 of 10 artists")
    for kind, finding in by_kind.items():
        rest = set(listed[kind][listed["split"] != "test"])
        test = listed[listed["split"] == "test"]
        assert set(finding.affected) == set(test["path"][test[kind].isin(rest)])
    assert found.num_affected == len(by_kind["artist"].affected) == 80 and found.num_test == 98


def test_folds_of_groove_keep_artists_apart(shared: Path) -> None:
    found = groove(shared, "dataset.folds=2")
    assert found.fold == 0 and found.split.startswith("artist-2fold")
    assert only(found).cases == (Case("afrobeat", {}),)  # by two drummers: both train or validate


@pytest.mark.slow
@needs_duplicates
def test_the_command_on_groove(shared: Path, tmp_path: Path, python: Run) -> None:
    values = ("dataset=manifest", f"dataset.path={shared}/data/groove8/manifest.csv")
    done = python("zoo.audit", *values, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "16 of 52 groups (such as recording sessions) are in more than one" in done.stdout
    assert "80 of 98 test tracks (81.6%) are affected" in done.stdout
    out = tmp_path / "audits" / "groove8" / "given"
    content = json.loads((out / "audit.json").read_text())
    assert content["affected"] == 80 and (out / "audit.md").read_text().startswith("# Audit of")
    strict = python("zoo.audit", *values, "audit=strict", cwd=tmp_path)
    assert strict.returncode == 2 and strict.stderr.splitlines()[-1].startswith("error: audit=")


# --- runs


@pytest.fixture
def leaking(music: Path) -> Path:
    shutil.copy(music / "train/rock/10.wav", music / "test/rock/other.wav")
    return music


def values(root: Path, run: Path, *more: str) -> list[str]:
    return [*QUICK, "dataset=folder", f"dataset.path={root}", f"output_dir={run}", *more]


def test_a_run_carries_what_was_found(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(compose("train", values(leaking, tmp_path / "run")))
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("audit: ")]
    assert len(lines) == 2 and "1 of 13 test tracks (7.7%)" in lines[0]
    assert str(run / "audit.md") in lines[1]
    assert "audit (audio): 1 of 13 test tracks are affected" in said.out
    assert "other.wav" in (run / "audit.md").read_text()
    audited = read_result(run).audit
    assert audited is not None and (audited.test_tracks, audited.affected) == (13, 1)
    assert [(w.kind, w.affected) for w in audited.warnings] == [("audio", 1)]
    shown = to_markdown(make_table(pool([run], print)))
    assert "| linear † " in shown
    assert "† The audit of the split warns of: audio (7.7% of the test tracks)." in shown


def test_a_clean_run_says_nothing_and_old_results_are_read(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(compose("train", values(music, tmp_path / "run", "audit=strict")))
    said = capsys.readouterr()
    assert "audit" not in said.err and "audit" not in said.out
    assert not (run / "audit.md").exists()
    audited = read_result(run).audit
    assert audited is not None and (audited.affected, audited.warnings) == (0, [])
    content = json.loads((run / "result.json").read_text())
    del content["audit"]
    (run / "result.json").write_text(json.dumps(content))
    assert read_result(run).audit is None
    table = make_table(pool([run], print))
    assert table["affected"].isna().all() and "†" not in to_markdown(table)


def test_strict_stops_before_training(leaking: Path, tmp_path: Path, python: Run) -> None:
    run = tmp_path / "run"
    done = python("zoo.train", *values(leaking, run, "audit=strict"), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"error: audit=strict: {leaking}: 1 of 36 recordings")
    assert "1 of 13 test tracks (7.7%); ask for another split (split=artist)" in error
    assert {file.name for file in run.iterdir()} == {"audit.md", "audit.json"}
    with pytest.raises(InputError, match=r"audit=stern must be one of warn, strict\."):
        train(compose("train", values(leaking, run, "audit=stern")))
    train(compose("train", values(leaking, run)))  # the folder is free


@pytest.mark.slow
def test_two_processes_say_it_once(leaking: Path, tmp_path: Path) -> None:
    done = torchrun(tmp_path, *values(leaking, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("audit: 1 of 36 recordings") == 1
    result = read_result(tmp_path / "run")
    assert result.hardware.num_processes == 2
    assert result.audit is not None and result.audit.affected == 1


def test_a_report_that_cannot_be_written(leaking: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"output_dir=.*file cannot be written"):
        write(folder(leaking), tmp_path / "file")
