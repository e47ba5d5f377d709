"""Data sets as mirdata knows them: its own loaders on indexes and files in their real form."""

import csv
import hashlib
import json
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from test_datasets import column, refusal
from zoo.config import compose
from zoo.datasets import mirdata
from zoo.datasets.base import Manifest
from zoo.datasets.splits import with_splits
from zoo.prepare import decode_tracks, load_manifest

pytest.importorskip("mirdata")

GENRES = ("blues", "hiphop")


def write_audio(file: Path, pitch: int = 0) -> str:
    """Write a second of a sine; return its checksum."""
    file.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(22_050) / 22_050
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * (200 + 20 * pitch) * t), 22_050)
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an index where mirdata looks for it, but not into the package."""

    def put(name: str, tracks: dict[str, Any] | None) -> Path:
        indexes = import_module(f"mirdata.datasets.{name}").INDEXES
        index = indexes[indexes["default"]]
        monkeypatch.setattr(index, "indexes_dir", str(tmp_path / "indexes"))
        (tmp_path / "indexes").mkdir(exist_ok=True)
        if tracks is not None:
            content = {"version": indexes["default"], "tracks": tracks}
            (tmp_path / "indexes" / index.filename).write_text(json.dumps(content))
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        return home

    return put


def gtzan(home: Path, per_genre: int = 10) -> dict[str, Any]:
    """Return the index of a GTZAN whose files are written below `home`."""
    names = [f"{genre}.{i:05d}" for genre in GENRES for i in range(per_genre)]
    paths = [f"gtzan_genre/genres/{name.partition('.')[0]}/{name}.wav" for name in names]
    return {
        name: {
            "audio": [path, write_audio(home / path, i)],
            "beats": [f"gtzan_tempo_beat-main/beats/gtzan_{name.replace('.', '_')}.beats", "0"],
            "tempo": [f"gtzan_tempo_beat-main/tempo/gtzan_{name.replace('.', '_')}.bpm", "0"],
        }
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    }


def load(home: Path, id: str, **arguments: Any) -> Manifest:
    return mirdata.load(home, id=id, path=home, **arguments)


def test_gtzan_from_loader_to_decoded_audio(tmp_path: Path, use) -> None:
    home = use("gtzan_genre", gtzan(tmp_path / "home"))
    found = load(home, "gtzan_genre")
    assert found.name == "gtzan_genre-1.0" and found.classes == ("blues", "hip-hop")
    assert "tzanetakis2002gtzan" in found.citation and "license" in found.licence
    assert column(found, "label")["hiphop.00003"] == "hip-hop"
    assert set(found.frame["split"]) == set(found.frame["artist"]) == {""}
    (home / "gtzan_genre/genres/blues/blues.00000.wav").unlink()
    arguments = ["dataset=mirdata", "dataset.id=gtzan_genre", f"dataset.path={home}"]
    config = compose("prepare", [*arguments, f"cache_dir={tmp_path / 'cache'}"])
    data = decode_tracks(load_manifest(config), config, 16_000)
    assert len(data.store) == 19
    assert data.left_out["path"].str.endswith("blues.00000.wav").tolist() == [True]


def test_groove_midi_has_drummers_sessions_and_splits(tmp_path: Path, use) -> None:
    columns = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename"
    rows, tracks = [], {}
    for i, split in enumerate(["train", "validation", "test"] * 2):
        name, session = f"drummer{i % 2 + 1}/session1/{i}", f"drummer{i % 2 + 1}/session1"
        style, stem = ("funk/groove1", "rock")[i % 2], f"{name}_style_100_beat_4-4"
        rows.append([name.partition("/")[0], session, name, style, 100, "beat", "4-4",
                     f"{stem}.mid", f"{stem}.wav", 1.0, split])  # fmt: skip
        audio = [f"{stem}.wav", write_audio(tmp_path / "home" / f"{stem}.wav", i)]
        tracks[name] = {"midi": [f"{stem}.mid", "0"], "audio": audio if i != 5 else [None, None]}
    home = use("groove_midi", tracks)
    with (home / "info.csv").open("w", newline="") as file:
        csv.writer(file).writerows([f"{columns},duration,split".split(","), *rows])
    found = load(home, "groove_midi")
    assert len(found.frame) == 5  # one performance has no audio
    assert found.classes == ("funk/groove1", "rock")
    assert set(found.frame["artist"]) == {"drummer1", "drummer2"}
    assert set(found.frame["group"]) == {"drummer1/session1", "drummer2/session1"}
    assert found.frame["split"].tolist() == ["train", "validation", "test", "train", "validation"]
    assert load(home, "groove_midi", label="beat_type").classes == ("beat",)
    (home / "info.csv").unlink()
    message = refusal(load, home, "groove_midi")
    assert "Metadata not found" in message and "dataset.download=true" in message


def test_lists_and_structs_of_genres(tmp_path: Path, use) -> None:
    home, tracks = tmp_path / "home", {}
    for number, genres in (("3", ["House", "Deep House"]), ("4", ["Techno"]), ("5", [])):
        name = f"{number} Artist - Title (Original Mix)"
        meta = {
            "bpm": 120,
            "genres": [{"name": genre} for genre in genres],
            "sub_genres": [{"name": "Minimal"}],
            "artists": [{"name": "One"}, {"name": "Two"}],
        }
        (home / "meta").mkdir(parents=True, exist_ok=True)
        (home / "meta" / f"{name}.json").write_text(json.dumps(meta))
        tracks[number] = {
            "audio": [f"audio/{name}.mp3", write_audio(home / f"audio/{name}.mp3")],
            "meta": [f"meta/{name}.json", "0"],
            "key": [f"keys_gs+/{name}.txt", "0"],
        }
    use("giantsteps_key", tracks)
    found = load(home, "giantsteps_key")
    assert found.frame["label"].tolist() == ["House|Deep House", "Techno"] and found.multilabel
    assert found.frame["artist"].tolist() == ["One|Two", "One|Two"]


def test_tags_and_the_first_of_several_splits(tmp_path: Path, use) -> None:
    head = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
    rows = [
        (f"track_{i:07d}", f"artist_{i // 2:06d}", f"album_{i // 2:06d}", f"0{i}/{i}.mp3", "1.0",
         "mood/theme---calm", *(["mood/theme---epic"] if i % 2 else []))
        for i in range(6)
    ]  # fmt: skip
    tracks = {row[0]: {"audio": [f"audios/{row[3]}", "0"]} for row in rows}
    home = use("mtg_jamendo_autotagging_moodtheme", tracks)
    parts = {"": rows, "-train": rows[:3], "-validation": rows[3:4], "-test": rows[4:]}
    for number in range(5):
        for part, some in parts.items():
            folder = home / "data" / "splits" / f"split-{number}" if part else home / "data"
            folder.mkdir(parents=True, exist_ok=True)
            lines = ["\t".join(row) for row in [head, *some]]
            (folder / f"autotagging_moodtheme{part}.tsv").write_text("\n".join(lines) + "\n")
    found = load(home, "mtg_jamendo_autotagging_moodtheme")
    assert found.frame["label"].tolist()[:2] == ["calm", "calm|epic"]
    assert found.frame["artist"].tolist()[:3] == ["artist_000000"] * 2 + ["artist_000001"]
    assert found.frame["group"].iloc[0] == "album_000000"
    assert found.frame["split"].tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert found.frame["path"].iloc[0] == str(home / "audios/00/0.mp3")


def test_splits_that_are_folds(tmp_path: Path, use) -> None:
    rows, tracks = [], {}
    for i in range(20):
        path = f"Brass/Horn/ordinario/Hn-ord-{i}-mf-N-N.wav"
        rows.append([path, i % 5, ("Brass", "Winds")[i // 10], "Hn", "French Horn", "ord",
                     "ordinario", "A4", 69, "mf", 2, 0, "", "FALSE"])  # fmt: skip
        audio = f"audio/{path}"
        tracks[Path(path).stem] = {"audio": [audio, write_audio(tmp_path / "home" / audio)]}
    home = use("tinysol", tracks)
    (home / "annotation").mkdir()
    with (home / "annotation" / "TinySOL_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Path", "Fold"], *rows])
    found = load(home, "tinysol", label="family")
    assert found.classes == ("Brass", "Winds")
    assert found.frame["fold"].tolist()[:5] == ["0", "1", "2", "3", "4"]
    made = with_splits(found, None, 2, 0)
    assert set(made.split("test").frame["fold"]) == {"2"}


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def test_mirdata_downloads(tmp_path: Path, use, monkeypatch: pytest.MonkeyPatch) -> None:
    from mirdata.core import Index
    from mirdata.datasets import gtzan_genre
    from mirdata.download_utils import RemoteFileMetadata

    served = tmp_path / "served"
    tracks = gtzan(served, 2)
    with tarfile.open(served / "genres.tar.gz", "w:gz") as archive:
        archive.add(served / "gtzan_genre" / "genres", "genres")
    index = {"version": "1.0", "tracks": tracks}
    (served / "index.json").write_text(json.dumps(index))
    sums = {f: hashlib.md5((served / f).read_bytes()).hexdigest()
            for f in ("index.json", "genres.tar.gz")}  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    here = Index("index.json", f"{url}/index.json", sums["index.json"], ["all"])
    here.remote.destination_dir = str(tmp_path / "indexes")
    here.indexes_dir = str(tmp_path / "indexes")
    monkeypatch.setitem(gtzan_genre.INDEXES, "1.0", here)
    all_of_it = RemoteFileMetadata(
        "genres.tar.gz", f"{url}/genres.tar.gz", sums["genres.tar.gz"], "gtzan_genre"
    )
    monkeypatch.setattr(gtzan_genre, "REMOTES", {"all": all_of_it})
    home = tmp_path / "new"
    try:
        found = load(home, "gtzan_genre", download=True)
        assert len(found.frame) == 4
        assert all(Path(path).is_file() for path in found.frame["path"])
    finally:
        server.shutdown()
        server.server_close()
    assert load(home, "gtzan_genre").frame.equals(found.frame)
    broken = refusal(load, tmp_path / "newer", "gtzan_genre", download=True)
    assert "is not what mirdata knows as gtzan_genre" in broken and "refused" in broken


def test_refusals(tmp_path: Path, use, monkeypatch: pytest.MonkeyPatch) -> None:
    home = use("gtzan_genre", gtzan(tmp_path / "home", 1))
    assert "dataset.id is not set: mirdata has acousticbrainz_genre," in refusal(
        mirdata.load, home, path=home
    )
    assert refusal(load, home, "gtzan") == (
        "dataset.id=gtzan is unknown to mirdata; did you mean gtzan_genre?"
    )
    message = refusal(load, home, "gtzan_genre", label="genres")
    assert message.startswith("dataset.label=genres is nothing that gtzan_genre has; did you mean")
    assert "did you mean audio_path" in refusal(load, home, "gtzan_genre", audio="audio_pat")
    assert "is neither text nor a list" in refusal(load, home, "gtzan_genre", label="get_path")
    assert "is not a folder" in refusal(load, tmp_path / "nowhere", "gtzan_genre")
    use("ballroom", None)
    assert "index must be downloaded" in refusal(load, home, "ballroom")
    assert "pip install 'mirdata[dali]'" in refusal(load, home, "dali")
    monkeypatch.setitem(sys.modules, "mirdata", None)
    assert refusal(load, home, "gtzan_genre").endswith("pip install genre-zoo[mirdata].")
