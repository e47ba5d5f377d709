"""Preparation with Ray: the same store, also where workers die, and a sentence where it cannot."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from zoo import cluster
from zoo.audio import decode
from zoo.decoding import _add, prepare
from zoo.errors import InputError
from zoo.index import Key, identity
from zoo.store import Store, folder_of

RATE = 16_000


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("audio")
    paths = [str(folder / f"{i}.wav") for i in range(40)]
    for i, path in enumerate(paths):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, 4_000 + i)
        soundfile.write(path, noise, RATE)
    return paths


def indexed(cache: Path) -> list[str]:
    """The path of every entry of every shard."""
    shards = folder_of(cache, RATE).glob("*.parquet")
    return sorted(path for file in shards for path in pd.read_parquet(file)["path"])


def test_ray_prepares_what_is_missing(ray: object, tmp_path: Path, files: list[str]) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    prepare(files[:10], RATE, tmp_path, progress=False)
    store, report = prepare([*files, bad], RATE, tmp_path, progress=False, engine="ray")
    assert store.paths == files and indexed(tmp_path) == sorted(files)
    for row, file in enumerate(files):
        np.testing.assert_array_equal(store.track(row), decode(file, RATE))
    reason = "cannot be decoded: Format not recognised."
    assert report.to_dict("records") == [{"path": str(bad), "reason": reason}]
    next(folder_of(tmp_path, RATE).glob("*.npy")).unlink()
    with pytest.warns(UserWarning, match="damaged"):
        store, _ = prepare(files, RATE, tmp_path, progress=False, engine="ray")
        assert store.paths == Store.open(tmp_path, RATE, files).paths == files


def unknown_there(*arguments: object) -> dict[str, str]:
    return {}


@pytest.mark.slow
def test_a_task_whose_worker_dies_goes_on_where_it_was(
    ray: object, tmp_path: Path, files: list[str]
) -> None:
    def deadly(
        keys: Sequence[Key], folder: Path, rate: int, workers: int, progress: bool, name: str
    ) -> dict[str, str]:
        """Decode three files and die; when tried again, decode what is asked for, or die again."""
        with (folder / f"{name}tried").open("a") as file:
            file.write(f"{len(keys)}\n")
        if len((folder / f"{name}tried").read_text().splitlines()) == 1:
            _add(keys[:3], folder, rate, workers, progress, name)
            os._exit(1)
        if keys[-1][0] == files[-1]:
            os._exit(1)
        return _add(keys, folder, rate, workers, progress, name)

    folder = folder_of(tmp_path, RATE)
    folder.mkdir(parents=True)
    keys = [(file, *identity(file)) for file in files]
    reasons = cluster.add(deadly, keys, folder, RATE, None, False)
    assert reasons.keys() == {*files[-5:]} and "its worker died" in reasons[files[-1]]
    assert Store.open(tmp_path, RATE, files).paths == files[:-2]
    assert indexed(tmp_path) == sorted(files[:-2])
    tried = sorted([*map(int, f.read_text().split())] for f in folder.glob("*tried"))
    assert tried == [[5, 2]] * 7 + [[5, 2, 2, 2]]


def test_mistakes_have_their_sentence(
    ray: object, tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"prepare\.engine=spark must be one of local, ray"):
        prepare(files, RATE, tmp_path, engine="spark")
    name = socket.gethostname()
    with pytest.raises(InputError, match=f"{name} does not see the cache folder {tmp_path}"):
        cluster._decode_slice(_add, [], tmp_path, RATE, tmp_path / "absent", "")
    keys = [(file, *identity(file)) for file in files]
    with pytest.raises(InputError, match=r"lacks this package .*No module named 'test_cluster'"):
        cluster.add(unknown_there, keys, tmp_path, RATE, None, False)
    monkeypatch.setattr(Path, "touch", lambda path: None)  # as on a folder of this machine's own
    with pytest.raises(InputError, match="does not see the cache folder"):
        cluster.add(_add, keys, tmp_path, RATE, None, False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'genre-zoo\[ray\]'"):
        prepare(files, RATE, tmp_path, engine="ray")


def test_nobody_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError):
        cluster._knock(f"127.0.0.1:{port}")
    cluster._knock("auto")
