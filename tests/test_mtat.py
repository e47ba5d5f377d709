"""`mtat` on a fixture with the real tables' columns, quoting, number of rows and file names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Run
from sounds import write_mp3
from test_datasets import column, refusal
from zoo.datasets import mtat
from zoo.datasets.splits import assign_folds
from zoo.pooling import checked_run
from zoo.results import read_result
from zoo.tags import TAGS

OTHERS = [f"rare tag {i}" for i in range(188 - 50)]  # 188 tags in all
COLUMNS = ["clip_id", *sorted([*TAGS["mtat"], *OTHERS]), "mp3_path"]
NUM_ROWS, NUM_KEPT = 25_863, {"train": 15_247, "validation": 1_529, "test": 4_332}
FOLDER_OF = {"train": "0123456789ab", "validation": "c", "test": "def"}


def quoted(fields: list[object]) -> str:
    return "\t".join(f'"{field}"' for field in fields)


def write_tables(root: Path, clips: list[tuple[str, str, set[str]]]) -> Path:
    """Write both tables for clips of a number, a path and tags; two artists alternate."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [quoted(COLUMNS)]
    for number, path, tags in clips:
        marks = [int(name in tags) for name in COLUMNS[1:-1]]
        lines.append("\t".join([f'"{number}"', *(f'"{mark}"' for mark in marks), f'"{path}"']))
    (root / mtat.ANNOTATIONS).write_text("\n".join(lines) + "\n")
    header = "clip_id track_number title artist album url segmentStart segmentEnd original_url"
    info = [quoted([*header.split(), "mp3_path"])]
    for number, path, _ in clips:
        artist = "ZilverZurf" if int(number) % 2 else 'The "Seldon" Plan'.replace('"', '""')
        info.append(quoted([number, 1, "t", artist, "album", "", 30, 59, "http://x", path]))
    (root / mtat.CLIPS).write_text("\n".join(info) + "\n")
    return root


def small(root: Path) -> Path:
    """Write 32 clips of 16 recordings, two of each folder; every fourth clip has none of the tags,
    and the first is one of the empty files."""
    clips = []
    for i in range(32):
        folder, seconds = "0123456789abcdef"[i // 2], i % 2 * 29
        path = f"{folder}/artist_{i // 4}-album-01-song_{i // 2}-{seconds}-{seconds + 29}.mp3"
        tags = {"rare tag 3"} if i % 4 == 3 else {"guitar", "slow"} if i % 4 else {"rock"}
        clips.append((mtat.BROKEN[0] if i == 0 else str(100 + i), path, tags))
        write_mp3(root / path, 200 + 20 * i + 300 * (i % 4 == 0), sample_rate=16_000)
    (root / clips[0][1]).write_bytes(b"")
    return write_tables(root, clips)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 25,863 rows, in folders that fit the published lists."""
    letters = (Path(mtat.__file__).parent / "facts/mtat_cleaned.txt").read_text().replace("\n", "")
    clips, broken = [], [*mtat.BROKEN]
    for row, letter in enumerate(letters):
        split = mtat.LETTERS[letter] or "train"
        folder = FOLDER_OF[split][row % len(FOLDER_OF[split])]
        tags = {TAGS["mtat"][row % 50]} if letter != "." else {"rare tag 5"}
        number = broken.pop() if letter == "." and broken else str(100_000 + row)
        clips.append((number, f"{folder}/a-b-01-song_{row}-0-29.mp3", tags))
    return write_tables(tmp_path_factory.mktemp("mtat"), clips)


def test_lists_are_those_published(shared: Path) -> None:
    letters = (Path(mtat.__file__).parent / "facts/mtat_cleaned.txt").read_text().replace("\n", "")
    assert len(letters) == NUM_ROWS
    names = np.array([mtat.LETTERS[letter] for letter in letters])
    for split, number in NUM_KEPT.items():
        rows = np.loadtxt(shared / f"splits/mtat/{split}.txt", dtype=int)
        assert np.array_equal(np.flatnonzero(names == split), rows) and len(rows) == number


def test_first_rows_fit_the_folders() -> None:
    """The folders of the first 64 rows of annotations_final.csv, as index_MAGNA.tsv of
    https://github.com/jordipons/musicnn-training has them."""
    runs = ("f5", "c4", "02", "e2", "f3", "927", "64", "93", "02", "f12")
    folders = "".join(run[0] * int(run[1:]) for run in runs)
    letters = (Path(mtat.__file__).parent / "facts/mtat_cleaned.txt").read_text()[:64]
    for letter, folder in zip(letters, folders, strict=True):
        assert mtat.LETTERS[letter] in ("", mtat.FOLDERS[folder])


def test_cleaned_version(whole: Path) -> None:
    found = mtat.load(whole, path=whole)
    assert found.name == "mtat" and found.split_name == "cleaned"
    assert found.frame["split"].value_counts().to_dict() == NUM_KEPT
    assert found.classes == TAGS["mtat"] and found.multilabel
    assert (found.targets().sum(axis=1) == 1).all()
    usual = mtat.load(whole, path=whole, version="usual")
    assert len(usual.frame) == NUM_ROWS - 3 and (usual.frame["label"] == "").any()


def test_cleaned_version_of_other_annotations(whole: Path, tmp_path: Path) -> None:
    lines = (whole / mtat.ANNOTATIONS).read_text().splitlines(keepends=True)
    (tmp_path / mtat.CLIPS).write_bytes((whole / mtat.CLIPS).read_bytes())
    (tmp_path / mtat.ANNOTATIONS).write_text("".join(lines[:1] + lines[2:]))
    said = refusal(mtat.load, tmp_path, path=tmp_path)
    assert "annotations_final.csv is not as published: its 25,862 rows do not fit" in said
    (tmp_path / mtat.ANNOTATIONS).write_text("".join([*lines[:1], *lines[:0:-1]]))
    assert "do not fit the split of the original's 25,863" in refusal(
        mtat.load, tmp_path, path=tmp_path
    )


def test_usual_version(tmp_path: Path) -> None:
    found = mtat.load(tmp_path, path=small(tmp_path), version="usual")
    assert len(found.frame) == 31 and found.frame["split"].value_counts().to_dict() == {
        "train": 23,
        "validation": 2,
        "test": 6,
    }
    frame = found.frame.set_index("track")
    assert frame.loc["103", "label"] == "" and frame.loc["101", "label"] == "guitar|slow"
    assert frame.loc["103", "group"] == "1/artist_0-album-01-song_1"
    assert frame.loc["102", "group"] == frame.loc["103", "group"]
    assert frame.loc["103", "artist"] == "ZilverZurf"
    assert frame.loc["102", "artist"] == 'The "Seldon" Plan'
    assert frame.loc["103", "path"] == str(tmp_path / "1/artist_0-album-01-song_1-29-58.mp3")
    targets = dict(zip(found.frame["track"], found.targets(), strict=True))
    assert targets["103"].sum() == 0 and targets["101"].sum() == 2
    assert targets["101"][TAGS["mtat"].index("slow")] == 1
    (tmp_path / "mp3").mkdir()
    moved = mtat.load(tmp_path, path=tmp_path, version="usual")
    assert column(moved, "path")["103"].startswith(str(tmp_path / "mp3/1/"))


def test_clips_without_a_tag_spread_over_folds(tmp_path: Path) -> None:
    found = mtat.load(tmp_path, path=small(tmp_path), version="usual")
    alone = pd.DataFrame({"track": found.frame["track"], "label": found.frame["label"]})
    folds = assign_folds(type(found)("m", alone, classes=found.classes, multilabel=True), 4, 0)
    counts = np.bincount(folds[(alone["label"] == "").to_numpy()], minlength=4)
    assert counts.tolist() == [2, 2, 2, 2]


@pytest.mark.slow
def test_training_with_clips_that_have_no_tag(python: Run, tmp_path: Path) -> None:
    root = small(tmp_path / "mtat")
    arguments = ["dataset=mtat", f"dataset.path={root}", "dataset.version=usual", "model=linear"]
    arguments += ["epochs=1", "min_steps=1", "batch_size=4", "threads=1", "clip_seconds=0.5"]
    done = python("zoo.prepare", *arguments[:3], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| no label" in done.stdout and "split usual" in done.stdout
    done = python("zoo.train", *arguments, f"output_dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "run")
    assert result.protocol.split == "usual" and result.left_out == 0
    assert 0 <= result.metrics["test"]["macro_average_precision"] <= 1
    checked_run(tmp_path / "run")  # as the leaderboard reads it
    other = ["--dataset", "mtat"]
    for value in arguments[1:3]:
        other += ["--set", value]
    done = python("zoo.evaluate", str(tmp_path / "run"), *other, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 tracks of mtat" in done.stdout  # with the two that have no tag


def test_refusals(tmp_path: Path) -> None:
    def refused(root: Path | None, **arguments: str) -> str:
        return refusal(mtat.load, tmp_path, path=root, **arguments)

    assert "dataset=mtat needs dataset.path=DIR; get it at https://mirg.city" in refused(None)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    assert f"dataset.path={tmp_path} has no annotations_final.csv; get it" in refused(tmp_path)
    root = small(tmp_path / "mtat")
    assert "dataset.version=clean must be one of usual, cleaned" in refused(root, version="clean")
    assert "its 32 rows do not fit" in refused(root)
    (root / mtat.CLIPS).unlink()
    assert "has no clip_info_final.csv" in refused(root, version="usual")
    file = root / mtat.ANNOTATIONS
    file.write_text(file.read_text().replace('"harp"', '"harps"'))
    assert f"{file} is not as published: it has no column 'harp'" in refused(root, version="usual")
    file.write_bytes(b"")
    assert f"{file} is empty" in refused(root, version="usual")
