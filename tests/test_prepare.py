"""From a data set's name to decoded audio, and what is left out on the way."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import TINY_SYNTH, Run

from zoo.config import compose
from zoo.datasets import synth
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
