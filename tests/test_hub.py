"""Data sets in the form of the Hub: Parquet, WebDataset, audio folders; by folder and by name."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hub_server import serve
from test_datasets import refusal
from zoo.config import compose
from zoo.datasets import hub, hub_audio
from zoo.datasets.base import Manifest
from zoo.prepare import decode_tracks, load_manifest

datasets = pytest.importorskip("datasets")

GENRES = ["rock", "jazz"]
FORMATS = ["WAV", "FLAC", "OGG", "MP3", "AU", "AIFF"]
CARD = """---
license: cc-by-4.0
---
# Music
```bibtex
@misc{one, title = {Music}}
```
"""


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's own cache alone."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setenv("HF_HOME", str(folder))


@cache
def encoded(number: int, form: str = "WAV") -> bytes:
    """A second of a sine, its own pitch for each number; Ogg draws a serial number, so once."""
    t, file = np.arange(16_000) / 16_000, io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * t), 16_000, format=form)
    return file.getvalue()


def write_parquet(root: Path, sizes: dict[str, int], shards: int = 1) -> Path:
    """As `push_to_hub` lays it out; the card says what the features are."""
    features = datasets.Features(
        {
            "audio": datasets.Audio(),
            "genre": datasets.ClassLabel(names=GENRES),
            "tags": datasets.List(datasets.ClassLabel(names=["calm", "loud"])),
            "info": {"band": datasets.Value("string"), "year": datasets.Value("int32")},
            "cover": datasets.Value("binary"),
        }
    )
    (root / "data").mkdir(parents=True)
    (root / "README.md").write_text(CARD)
    for split, num in sizes.items():
        rows = [
            {
                "audio": {"bytes": encoded(i, FORMATS[i % 6]), "path": None},
                "genre": i % 2,
                "tags": [1] if i % 3 else [0, 1],
                "info": {"band": f"band{i // 2}" if i else None, "year": 1990 + i},
                "cover": b"\x89PNG",
            }
            for i in range(num)
        ]
        whole = datasets.Dataset.from_list(rows).cast(features)
        for i in range(shards):
            file = root / "data" / f"{split}-{i:05d}-of-{shards:05d}.parquet"
            whole.shard(shards, i).to_parquet(file)
    return root


def write_audio_folder(root: Path, num: int = 6) -> Path:
    """Audio files beside their metadata.csv."""
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        lines = [f"{i}.wav,{GENRES[i % 2]},band{i}" for i in range(num)]
        (root / split / "metadata.csv").write_text("\n".join(["file_name,genre,band", *lines]))
        for i in range(num):
            (root / split / f"{i}.wav").write_bytes(encoded(i + (split == "test")))
    return root


def load(cache: Path, path: Path | str, **arguments: object) -> Manifest:
    return hub.load(cache, path=Path(path), **arguments)  # type: ignore[arg-type]


def contents(found: Manifest) -> list[bytes]:
    return [Path(path).read_bytes() for path in found.frame["path"]]


def test_parquet(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "music", {"train": 12, "validation": 4, "test": 4})
    found = load(tmp_path / "cache", root, artist="info.band")
    assert found.name == "music" and found.classes == ("jazz", "rock")
    assert found.licence == "cc-by-4.0" and found.citation.startswith("@misc{one")
    assert found.frame["split"].value_counts().to_dict() == {
        "train": 12, "validation": 4, "test": 4
    }  # fmt: skip
    train = found.split("train")
    assert contents(train) == [encoded(i, FORMATS[i % 6]) for i in range(12)]
    suffixes = [Path(path).suffix for path in train.frame["path"]]
    assert suffixes[:6] == [".wav", ".flac", ".ogg", ".mp3", ".au", ".aiff"]
    assert all(Path(path).is_relative_to(tmp_path / "cache") for path in train.frame["path"])
    assert train.frame["artist"].tolist()[:4] == ["", "band0", "band1", "band1"]
    assert train.frame["track"].tolist()[:2] == ["train/0", "train/1"]
    assert train.frame["info.year"].tolist()[:2] == ["1990", "1991"]  # what else is offered


def test_several_labels_and_names_of_tracks(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "music", {"train": 6})
    found = load(tmp_path / "cache", root, label="tags", track="info.year")
    assert found.multilabel and found.classes == ("calm", "loud")
    assert found.frame["label"].tolist()[:3] == ["calm|loud", "loud", "loud"]
    assert found.frame["track"].tolist()[0] == "1990"
    assert set(found.frame["split"]) == {""}  # only a training split: others are made


def test_audio_is_written_once_and_continued(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "music", {"train": 8, "test": 4}, shards=2)
    paths = [Path(p) for p in load(tmp_path / "cache", root).frame["path"]]
    before = [path.stat().st_mtime_ns for path in paths]
    tables = sorted(paths[0].parent.glob("*.parquet"))
    assert [table.name for table in tables] == ["00000-of-00002.parquet", "00001-of-00002.parquet"]
    tables[1].unlink()  # as if stopped in the second shard, with one file still to come
    missing = next(path for path in paths if path.name.startswith("1-000003"))
    missing.unlink()
    again = [Path(p) for p in load(tmp_path / "cache", root).frame["path"]]
    assert again == paths and missing.exists()
    assert [p.stat().st_mtime_ns for p in paths if p != missing] == [
        t for p, t in zip(paths, before, strict=True) if p != missing
    ]


def test_what_is_there_needs_neither_library_nor_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_parquet(tmp_path / "music", {"train": 4})
    before = load(tmp_path / "cache", root)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert load(tmp_path / "cache", root).frame.equals(before.frame)
    message = refusal(load, tmp_path / "other", root)
    assert message == "dataset=hub needs the package datasets: pip install genre-zoo[hub]."


def test_a_folder_that_changed_is_read_again(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "music", {"train": 4})
    assert len(load(tmp_path / "cache", root).frame) == 4
    write_parquet(tmp_path / "more", {"train": 6})
    (tmp_path / "more" / "data" / "train-00000-of-00001.parquet").replace(
        root / "data" / "train-00000-of-00001.parquet"
    )
    assert len(load(tmp_path / "cache", root).frame) == 6


def test_audio_folder_stays_where_it_is(tmp_path: Path) -> None:
    root = write_audio_folder(tmp_path / "music")
    found = load(tmp_path / "cache", root, artist="band", group="band")
    assert set(found.frame["track"]) >= {"train/0.wav", "test/5.wav"}
    assert all(Path(path).is_relative_to(root) for path in found.frame["path"])
    assert found.frame["group"].tolist()[:2] == ["band0", "band1"]
    assert set(found.frame["split"]) == {"train", "test"}


def test_audio_folder_of_classes(tmp_path: Path) -> None:
    for i in range(4):
        file = tmp_path / "music" / "train" / GENRES[i % 2] / f"{i}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(i))
    found = load(tmp_path / "cache", tmp_path / "music", label="label")
    labels = dict(found.frame[["track", "label"]].to_numpy())
    assert labels == {f"train/{GENRES[i % 2]}/{i}.wav": GENRES[i % 2] for i in range(4)}


def test_audio_folder_in_an_archive(tmp_path: Path) -> None:
    root = write_audio_folder(tmp_path / "plain")
    (tmp_path / "packed").mkdir()
    for split in ("train", "test"):
        with zipfile.ZipFile(tmp_path / "packed" / f"{split}.zip", "w") as archive:
            for file in (root / split).iterdir():
                archive.write(file, file.name)
    found = load(tmp_path / "cache", tmp_path / "packed", artist="band")
    assert contents(found.split("train")) == [encoded(i) for i in range(6)]
    assert all(Path(path).is_relative_to(tmp_path / "cache") for path in found.frame["path"])
    assert found.frame["artist"].tolist()[:2] == ["band0", "band1"]


def test_webdataset(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    with tarfile.open(tmp_path / "music" / "train-0000.tar", "w") as tar:
        for i in range(4):
            about = json.dumps({"genre": GENRES[i % 2], "artist": f"band{i}"}).encode()
            for suffix, data in (("flac", encoded(i, "FLAC")), ("json", about)):
                member = tarfile.TarInfo(f"{i:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    columns = {"audio": "flac", "label": "json.genre", "artist": "json.artist"}
    found = load(tmp_path / "cache", tmp_path / "music", **columns)
    assert contents(found) == [encoded(i, "FLAC") for i in range(4)]
    assert found.frame["artist"].tolist() == ["band0", "band1", "band2", "band3"]
    assert found.frame["track"].tolist()[0] == "0000.flac"


def test_splits_by_name(tmp_path: Path) -> None:
    root = write_parquet(tmp_path / "music", {"train": 4, "heldout": 4})
    message = refusal(load, tmp_path / "cache", root)
    assert "split 'heldout' is none of train, validation, test" in message
    found = load(tmp_path / "cache", root, splits=["train", "heldout=test"])
    assert set(found.frame["split"]) == {"train", "test"}
    assert found.split_name == "given train,heldout=test"
    alone = load(tmp_path / "one", root, splits=["train"])
    assert set(alone.frame["split"]) == {""} and len(alone.frame) == 4
    assert not list((tmp_path / "one").rglob("heldout"))  # not even read
    assert "has no 'tran'; did you mean train?" in refusal(
        load, tmp_path / "cache", root, splits=["tran"]
    )


def test_tracks_without_label_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_audio_folder(tmp_path / "music")
    text = (root / "train" / "metadata.csv").read_text()
    (root / "train" / "metadata.csv").write_text(text.replace("3.wav,jazz", "3.wav,"))
    assert len(load(tmp_path / "cache", root).frame) == 11
    assert "1 tracks are left out: column genre of" in capsys.readouterr().err


def test_refusals(tmp_path: Path) -> None:
    root, cache = write_parquet(tmp_path / "music", {"train": 4}), tmp_path / "cache"
    assert "dataset.path=OWNER/NAME" in refusal(hub.load, cache)
    assert "neither a folder nor OWNER/NAME" in refusal(load, cache, tmp_path / "nowhere")
    assert "dataset.audio=adio is no column" in refusal(load, cache, root, audio="adio")
    message = refusal(load, cache, root, label="gener")
    assert message == f"dataset.label=gener is no column of {root}; did you mean genre?"
    assert "dataset.artist=band is no column" in refusal(load, cache, root, artist="band")
    assert not list(cache.rglob("*.wav"))  # mistakes are found before audio is read
    assert "dataset.config=NAME" in refusal(load, cache, root, config="small")
    (tmp_path / "empty").mkdir()
    assert "cannot be read as a data set" in refusal(load, cache, tmp_path / "empty")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old.py").touch()
    assert "dataset.revision=refs/convert/parquet" in refusal(load, cache, tmp_path / "old")


def test_a_track_without_audio_is_found_by_the_preparation(tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": encoded(i), "path": f"{i}.wav"}, "genre": GENRES[i % 2]}
            for i in range(20)]  # fmt: skip
    rows[3]["audio"] = None  # type: ignore[assignment]
    rows[4]["audio"] = {"bytes": b"no audio at all", "path": "4.wav"}
    (tmp_path / "music").mkdir()
    whole = datasets.Dataset.from_list(rows)
    whole.to_parquet(tmp_path / "music" / "train.parquet")
    arguments = ["dataset=hub", f"dataset.path={tmp_path / 'music'}", "dataset.max_bad=0.1"]
    config = compose("prepare", [*arguments, f"cache_dir={tmp_path / 'cache'}"])
    data = decode_tracks(load_manifest(config), config, 16_000)
    assert len(data.store) == 18 and len(data.left_out) == 2
    assert set(data.manifest.frame["split"]) == {"train", "validation", "test"}
    row = data.manifest.frame["track"].tolist().index("train/7")
    expected = soundfile.read(io.BytesIO(encoded(7)), dtype="int16")[0]
    assert np.array_equal(data.store.track(row), expected)


def prepare(address: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against a Hub on this machine."""
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
    environment |= {"GENRE_ZOO_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "zoo.prepare", "model=linear", "dataset=hub"]
    return subprocess.run(
        [*command, "dataset.path=some/one", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("write", [write_audio_folder, lambda r: write_parquet(r, {"train": 20})])
def test_by_name_from_a_hub(tmp_path: Path, write) -> None:
    root = write(tmp_path / "music")
    with serve(root) as (address, asked):
        done = prepare(address, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "some/one: " in done.stdout and "| rock" in done.stdout
        assert any("/resolve/" in line for line in asked)
        num_asked = len(asked)
        again = prepare(address, tmp_path)
        assert again.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]  # last: free space
        assert len(asked) == num_asked  # once is enough


def test_a_hub_that_does_not_have_it(tmp_path: Path) -> None:
    with serve(tmp_path / "music") as (address, _):
        done = prepare(address, tmp_path, "dataset.path=some/other")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: dataset.path=some/other cannot be read")


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = prepare("http://127.0.0.1:9", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: dataset.path=some/one cannot be read as a data set")
    assert "hf download some/one --repo-type dataset --local-dir DIR" in message


def test_suffixes_are_those_of_the_content() -> None:
    for form, suffix in zip(FORMATS, ("wav", "flac", "ogg", "mp3", "au", "aiff"), strict=True):
        assert hub_audio._suffix(encoded(0, form), "x.mp3") == f".{suffix}"
    opus = io.BytesIO()
    soundfile.write(opus, np.zeros(48_000), 48_000, format="OGG", subtype="OPUS")
    assert hub_audio._suffix(opus.getvalue(), "") == ".opus"
    assert hub_audio._suffix(b"ID3\x04" + bytes(9), "") == ".mp3"
    assert hub_audio._suffix(b"what", "x.WAV") == ".wav"
    assert hub_audio._suffix(b"what", "x.exe") == ".audio"
