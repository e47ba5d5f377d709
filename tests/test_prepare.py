"""From a data set's name to decoded audio, and what is left out on the way."""

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from conftest import TINY_SYNTH, Run
from test_download import Server, checksum, zipped
from zoo.config import compose
from zoo.datasets import groove, synth
from zoo.datasets.card import Archive
from zoo.errors import InputError
from zoo.prepare import decode_tracks, load_manifest
from zoo.prepare import main as prepare


def test_prepare_shows_what_is_there_and_writes_clips_to_hear(python: Run, tmp_path: Path) -> None:
    done = python("zoo.prepare", "dataset=synth", "listen=clips", *TINY_SYNTH, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"synth-{synth.VERSION}-3s: 64 tracks at 16000 Hz" in done.stdout
    assert "| waltz" in done.stdout
    clips = sorted((tmp_path / "clips").rglob("*.wav"))
    assert {clip.parent.name for clip in clips} >= {"rock", "rumba"} and len(clips) == 16
    assert soundfile.info(clips[0]).duration == 3.0


def music(folder: Path, num_missing: int) -> list[str]:
    """A manifest of 40 tracks, the last of which are missing."""
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, (40, 4000))
    rows = [(f"{i}.wav", "ab"[i % 2]) for i in range(40)]
    for (name, _), x in list(zip(rows, noise, strict=True))[: 40 - num_missing]:
        soundfile.write(folder / name, x, 16_000)
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(folder / "music.csv", index=False)
    return ["model=linear", "dataset=manifest", f"dataset.path={folder / 'music.csv'}"]


def test_few_missing_files_are_left_out_and_the_split_stays(tmp_path: Path) -> None:
    config = compose("train", music(tmp_path, 2))
    manifest = load_manifest(config)
    data = decode_tracks(manifest, config, 16_000, tmp_path / "run")
    assert len(data.manifest.frame) == len(data.store) == 38
    left_out = pd.read_csv(tmp_path / "run" / "left_out.csv")
    assert [Path(p).name for p in left_out["path"]] == ["38.wav", "39.wav"]
    before = manifest.frame.set_index("track")["split"]
    after = data.manifest.frame.set_index("track")["split"]
    assert (before[after.index] == after).all()
    for row, path in enumerate(data.manifest.frame["path"]):  # row i is track i of the store
        assert np.array_equal(data.store.track(row), soundfile.read(path, dtype="int16")[0])


def test_too_many_missing_files_stop_it(tmp_path: Path) -> None:
    arguments = music(tmp_path, 3)
    with pytest.raises(InputError, match=r"8% of the files are missing or broken .*37\.wav"):
        prepare(compose("prepare", arguments))
    prepare(compose("prepare", [*arguments, "dataset.max_bad=0.1"]))


def test_keys_of_preparation_reach_it(tmp_path: Path) -> None:
    arguments = [*music(tmp_path, 0), f"cache_dir={tmp_path / 'cache'}", "prepare.workers=1"]
    config = compose("train", arguments)
    manifest = load_manifest(config)
    decode_tracks(manifest, config, 16_000)
    for file in tmp_path.glob("?.wav"):
        file.unlink()
    trusting = compose("train", [*arguments, "prepare.verify=false"])
    assert len(decode_tracks(manifest, trusting, 16_000).store) == 40
    with pytest.raises(InputError, match="25% of the files are missing"):
        decode_tracks(manifest, config, 16_000)
    spark = compose("train", [*arguments, "prepare.engine=spark"])
    with pytest.raises(InputError, match=r"prepare\.engine=spark must be one of local, ray"):
        decode_tracks(manifest, spark, 16_000)


def test_clips_stay_in_their_folder(tmp_path: Path) -> None:
    arguments = music(tmp_path, 0)
    table = pd.read_csv(tmp_path / "music.csv")
    table["label"] = table["label"].replace({"a": "../../up", "b": "R&B/Soul"})
    table.to_csv(tmp_path / "music.csv", index=False)
    prepare(compose("prepare", [*arguments, f"listen={tmp_path / 'deep' / 'clips'}"]))
    written = {f.parent for f in tmp_path.rglob("*.wav")} - {tmp_path}
    assert {f.parent for f in written} == {tmp_path / "deep" / "clips"} and len(written) == 2


# --- what is there, and what is fetched

HEADER = (
    "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,"
    "split"
)


def drumming(missing: int = 0) -> bytes:
    """An archive like that of the Groove MIDI Dataset; the last files are missing."""
    lines, files = [HEADER], {}
    for number in range(24):
        style, split = ("jazz", "rock")[number % 2], ("train", "validation", "test")[number // 8]
        song = f"drummer1/session1/{number}_{style}_120_beat_4-4"
        lines.append(
            f"drummer1,drummer1/session1,drummer1/session1/{number},{style},120,beat,4-4,"
            f"{song}.mid,{song}.wav,0.2,{split}"
        )
        sound = io.BytesIO()
        noise = np.random.RandomState(number).uniform(-0.5, 0.5, 8820)
        soundfile.write(sound, noise, 44_100, "PCM_16", format="WAV")
        files[f"groove/{song}.wav"] = sound.getvalue()
    files = dict(list(files.items())[: 24 - missing])
    return zipped({"groove/info.csv": "\n".join(lines).encode(), **files})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The archive of `groove`, served from here."""
    with Server(knows_ranges=True) as running:
        running.files = {"/groove.zip": drumming()}
        archive = Archive(f"{running.url}/groove.zip", checksum(running.files["/groove.zip"]))
        monkeypatch.setattr(groove, "CARD", replace(groove.CARD, archives=(archive,)))
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def drums(root: Path, *others: str) -> list[str]:
    return ["model=linear", "dataset=groove", f"dataset.path={root}", *others]


def test_what_is_missing_is_fetched_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, download = tmp_path / "new" / "groove music", "dataset.download=true"
    with pytest.raises(InputError, match=r"let dataset\.download=true fetch it"):
        prepare(compose("prepare", drums(root)))
    for _ in range(2):
        prepare(compose("prepare", drums(root, download)))
        shown = capsys.readouterr().out
        assert "all 24 files are there" in shown and "groove: 24 tracks at 16000 Hz" in shown
        assert server.asked == [None]
    gone = root / "groove" / "drummer1" / "session1" / "23_rock_120_beat_4-4.wav"
    gone.unlink()
    prepare(compose("prepare", drums(root, download)))
    shown = capsys.readouterr().out
    assert f"groove.zip was fetched before; remove {root / 'groove.zip.fetched'}" in shown
    assert f"1 of 24 files are missing (test 1):\n  {gone}\n  get it at https://" in shown
    (root / "groove.zip.fetched").unlink()
    load_manifest(compose("train", drums(root, download)))  # as training does
    assert gone.exists() and len(server.asked) == 2


def test_a_dead_link_names_the_other_places(server: Server, tmp_path: Path) -> None:
    server.files = {}
    with pytest.raises(InputError, match=r"404 Not Found.*groove may be had at https://magenta"):
        load_manifest(compose("train", drums(tmp_path, "dataset.download=true")))


def test_a_wrong_key_is_named_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    wrong = "dataset.protocol=drummers"
    with pytest.raises(InputError, match=wrong):
        load_manifest(compose("train", drums(tmp_path, "dataset.download=true", wrong)))
    with pytest.raises(InputError, match=r"needs dataset\.path=DIR"):
        load_manifest(compose("train", ["dataset=groove", "dataset.download=true"]))
    assert server.asked == []


def test_one_of_each_reason_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = music(tmp_path, 8)
    (tmp_path / "0.wav").write_bytes(b"no sound")
    prepare(compose("prepare", [*arguments, "dataset.max_bad=0.3"]))
    shown = capsys.readouterr()
    assert "8 of 40 files are missing (" in shown.out and "get it at" not in shown.out
    assert "9 of 40 tracks are left out:" in shown.err
    assert f"{tmp_path / '0.wav'} cannot be decoded" in shown.err
    assert f"{tmp_path / '32.wav'} does not exist (and 7 more)" in shown.err


def test_the_card_is_shown_first(python: Run, tmp_path: Path) -> None:
    done = python("zoo.prepare", "dataset=gtzan", f"dataset.path={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert lines[0].startswith("gtzan: 1,000 tracks of 30 s") and lines[2] == "licence: none stated"
    assert lines[1].startswith("cite Tzanetakis and Cook") and "kaggle.com" in lines[3]
    assert done.stderr.startswith(f"error: dataset.path={tmp_path} has no folder of a genre")
    assert done.stderr.count("\n") == 1
