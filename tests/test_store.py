"""The store: decoded once, right after crashes and beside other processes, readable by anyone."""

import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from numpy.typing import NDArray

import zoo.decoding
import zoo.shards
import zoo.store
from zoo.audio import content_hash, decode
from zoo.decoding import prepare
from zoo.errors import InputError
from zoo.index import Key, Samples, identity
from zoo.store import Store, default_cache
from zoo.workers import decode_all

RATE = 16_000
REPOSITORY = Path(zoo.store.__file__).parents[1]

PREPARE = """
import sys
from pathlib import Path
import time
import zoo.decoding
import zoo.shards
import zoo.store
from zoo.workers import decode_all

def slowly(*arguments):
    for result in decode_all(*arguments):
        time.sleep(0.01)
        yield result

zoo.decoding.decode_all = slowly
zoo.decoding.SHARD_BYTES = 100_000
cache, *paths = map(Path, sys.argv[1:])
store, report = zoo.decoding.prepare(paths, 16_000, cache, progress=False)
assert len(store) == len(paths), report
"""


def write_tracks(folder: Path, num: int, seconds: float = 0.5, rate: int = RATE) -> list[Path]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:03d}.wav" for i in range(num)]
    for i, path in enumerate(paths):
        sf.write(path, rng.uniform(-0.5, 0.5, round((seconds + 0.01 * i) * rate)), rate)
    return paths


def shards(cache: Path) -> dict[str, tuple[int, int]]:
    """Name -> inode and time of the files of complete shards."""
    indexes = list(cache.glob("store/*/*.parquet"))
    files = indexes + [file.with_suffix(".npy") for file in indexes]
    stats = {file.name: file.stat() for file in files}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def index(cache: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in cache.glob("store/*/*.parquet")])


def assert_complete(store: Store, paths: list[Path]) -> None:
    assert store.paths == [str(path) for path in paths]
    for row, path in enumerate(paths):
        samples = decode(path, store.sample_rate)
        np.testing.assert_array_equal(store.track(row), samples)
        assert store.lengths[row] == len(samples)
        assert store.content_hashes[row] == content_hash(samples)


def start(cache: Path, paths: list[Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARE, str(cache), *map(str, paths)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


def wait_for_shards(cache: Path, num: int) -> None:
    deadline = time.monotonic() + 60
    while len(shards(cache)) < 2 * num:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_tracks(tmp_path_factory.mktemp("tracks"), 30)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(zoo.decoding, "SHARD_BYTES", 100_000)
    return 100_000


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_prepare_then_open(tmp_path, tracks, small_shards, rate):
    store, report = prepare(tracks, rate, tmp_path, progress=False)
    assert report.empty and list(report.columns) == ["path", "reason"]
    assert_complete(store, tracks)
    before = shards(tmp_path)
    some = [tracks[7], tracks[2], tracks[11]]
    assert_complete(Store.open(tmp_path, rate, some), some)
    again, _ = prepare(tracks, rate, tmp_path, progress=False)
    assert_complete(again, tracks)
    assert shards(tmp_path) == before
    sizes = [file.stat().st_size for file in tmp_path.glob("store/*/*.npy")]
    assert len(sizes) > 5 and max(sizes) <= small_shards + 128  # the header of .npy
    assert len(Store.open(tmp_path, 8_000, tracks)) == 0


def test_numpy_and_pandas_read_the_files(tmp_path, tracks, small_shards):
    prepare(tracks, RATE, tmp_path, progress=False)
    found = set()
    for file in tmp_path.glob(f"store/{RATE}/*.parquet"):
        samples = np.load(file.with_suffix(".npy"), mmap_mode="r")
        assert samples.dtype == np.int16 and samples.ndim == 1
        for entry in pd.read_parquet(file).itertuples():
            part = samples[entry.offset : entry.offset + entry.length]
            np.testing.assert_array_equal(part, decode(entry.path, RATE))
            assert (entry.size, entry.sample_rate) == (Path(entry.path).stat().st_size, RATE)
            found.add(entry.path)
    assert found == set(map(str, tracks))


def test_one_track_may_be_longer_than_a_shard(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(zoo.decoding, "SHARD_BYTES", 1_000)
    store, _ = prepare(tracks[:3], RATE, tmp_path, progress=False)
    assert_complete(store, tracks[:3])
    assert len(list(tmp_path.glob("store/*/*.npy"))) == 3


def test_repeats_and_spellings_are_decoded_once(tmp_path, tracks, monkeypatch):
    monkeypatch.chdir(tracks[0].parent)
    relative = Path(tracks[0].name)
    store, _ = prepare([tracks[1], relative, tracks[1], tracks[0]], RATE, tmp_path, progress=False)
    assert store.paths == [str(tracks[1]), str(relative), str(tracks[0])]
    np.testing.assert_array_equal(store.track(1), store.track(2))
    assert len(index(tmp_path)) == 2


def test_files_that_fail_are_reported_and_tried_again(tmp_path, tracks):
    bad, missing = tmp_path / "bad.wav", tmp_path / "missing.wav"
    bad.write_text("no audio")
    paths = [bad, tracks[0], missing, tmp_path]
    store, report = prepare(paths, RATE, tmp_path / "cache", progress=False)
    assert_complete(store, [tracks[0]])
    assert dict(zip(report["path"], report["reason"], strict=True)) == {
        str(bad): "cannot be decoded: Format not recognised.",
        str(missing): "does not exist",
        str(tmp_path): "is a directory",
    }
    sf.write(missing, np.full(RATE, 0.25), RATE)
    store, report = prepare(paths, RATE, tmp_path / "cache", progress=False)
    assert store.paths == [str(tracks[0]), str(missing)] and len(report) == 2
    missing.unlink()  # `open` looks at no file, `prepare` at each unless it is told not to
    assert Store.open(tmp_path / "cache", RATE, paths).paths == [str(tracks[0]), str(missing)]
    for verify, num_usable in ((False, 2), (True, 1)):
        store, report = prepare(paths, RATE, tmp_path / "cache", progress=False, verify=verify)
        assert len(store) == num_usable and len(report) == 4 - num_usable


def test_a_changed_file_is_decoded_again(tmp_path):
    path, other = write_tracks(tmp_path / "audio", 2)
    prepare([path, other], RATE, tmp_path, progress=False)
    size = path.stat().st_size
    sf.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, RATE // 2), RATE)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert path.stat().st_size == size
    old, _ = prepare([path, other], RATE, tmp_path, progress=False, verify=False)
    assert len(index(tmp_path)) == 2
    store, _ = prepare([path, other], RATE, tmp_path, progress=False)
    assert_complete(store, [path, other])
    assert len(index(tmp_path)) == 3
    opened = Store.open(tmp_path, RATE, [path, other])  # the newest
    assert opened.content_hashes == store.content_hashes != old.content_hashes


def reference(track: NDArray[np.int16], start: int, length: int) -> NDArray[np.int16]:
    if len(track) >= length:
        return track[start : start + length]
    return np.array([track[(start + i) % len(track)] for i in range(length)], np.int16)


@pytest.mark.parametrize("length", [1, 1_000, 9_000, 40_000])
def test_gather_equals_slicing(tmp_path, tracks, small_shards, length):
    store, _ = prepare(tracks, RATE, tmp_path, progress=False)
    rng = np.random.default_rng(length)
    rows = rng.integers(0, len(store), 100)
    rows[:3] = rows[3]
    starts = rng.integers(0, np.maximum(store.lengths[rows] - length, 0) + 1)
    is_short = store.lengths[rows] < length
    starts[is_short] = rng.integers(0, 100_000, is_short.sum())
    starts[rows == rows[0]] = max(store.lengths[rows[0]] - length, 0)
    chunks = store.gather(rows, starts, length)
    assert chunks.shape == (100, length) and chunks.dtype == np.int16 and chunks.flags.writeable
    for chunk, row, start in zip(chunks, rows, starts, strict=True):
        np.testing.assert_array_equal(chunk, reference(store.track(row), start, length))


def test_select(tmp_path, tracks, small_shards):
    store, _ = prepare(tracks, RATE, tmp_path, progress=False)
    rows = np.array([20, 3, 3, 11])
    chosen = store.select(rows).select(np.array([0, 2, 3]))
    assert_complete(chosen, [tracks[20], tracks[3], tracks[11]])
    np.testing.assert_array_equal(
        store.select(rows).gather(np.arange(4), rows, 500), store.gather(rows, rows, 500)
    )


def test_gather_refuses_what_lies_outside(tmp_path, tracks):
    store, _ = prepare(tracks[:2], RATE, tmp_path, progress=False)
    length = int(store.lengths[0])
    assert store.gather(np.array([0]), np.array([0]), length).shape == (1, length)
    for start, num in ((1, length), (-1, 10), (-1, 2 * length)):
        with pytest.raises(AssertionError, match="outside"):
            store.gather(np.array([0]), np.array([start]), num)


def test_pickled_store_works_and_carries_no_audio(tmp_path, tracks):
    store, _ = prepare(tracks, RATE, tmp_path, progress=False)
    store.track(0)
    pickled = pickle.dumps(store)
    assert len(pickled) < 10_000
    assert_complete(pickle.loads(pickled), tracks)


def test_few_shards_are_open_at_a_time(tmp_path, tracks, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(zoo.decoding, "SHARD_BYTES", 1)
    monkeypatch.setattr(zoo.store, "MAX_MAPS", 4)
    store, _ = prepare(tracks, RATE, tmp_path, progress=False)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 10, limits[1]))
    try:
        rows = np.arange(len(tracks))
        chunks = store.gather(rows, np.zeros_like(rows), 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for row in rows:
        np.testing.assert_array_equal(chunks[row], store.track(row)[:100])


def test_killed_preparation_continues(tmp_path):
    paths = write_tracks(tmp_path / "audio", 200, seconds=0.2)
    process = start(tmp_path, paths)
    wait_for_shards(tmp_path, 3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = shards(tmp_path)
    done = set(index(tmp_path)["path"])
    assert 0 < len(done) < len(paths)
    store, report = prepare(paths, RATE, tmp_path, progress=False)
    assert report.empty
    assert_complete(store, paths)
    assert before.items() <= shards(tmp_path).items()
    assert sorted(index(tmp_path)["path"]) == sorted(map(str, paths))


def test_interrupted_preparation_keeps_the_shard_it_was_filling(tmp_path, tracks, monkeypatch):
    def interrupted(*arguments: Any) -> Iterator[tuple[Key, Samples | str]]:
        yield from islice(decode_all(*arguments), 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo.decoding, "decode_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tracks, RATE, tmp_path, progress=False)
    assert_complete(Store.open(tmp_path, RATE, tracks), tracks[:5])
    monkeypatch.undo()
    assert_complete(prepare(tracks, RATE, tmp_path, progress=False)[0], tracks)
    assert len(index(tmp_path)) == len(tracks)


def test_ctrl_c_keeps_what_is_decoded(tmp_path):
    paths = write_tracks(tmp_path / "audio", 200, seconds=0.2)
    process = start(tmp_path, paths)
    wait_for_shards(tmp_path, 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in error
    assert 0 < len(Store.open(tmp_path, RATE, paths)) < len(paths)
    assert not list(tmp_path.glob("store/*/*.tmp"))
    assert_complete(prepare(paths, RATE, tmp_path, progress=False)[0], paths)
    assert len(index(tmp_path)) == len(paths)


def test_two_processes_at_once_decode_once(tmp_path):
    paths = write_tracks(tmp_path / "audio", 200, seconds=0.2)
    first = start(tmp_path, paths)
    wait_for_shards(tmp_path, 1)
    second = start(tmp_path, list(reversed(paths)))
    third = start(tmp_path, paths)
    errors = [process.communicate(timeout=60)[1] for process in (first, second, third)]
    assert [process.returncode for process in (first, second, third)] == [0, 0, 0], errors
    assert_complete(Store.open(tmp_path, RATE, paths), paths)
    assert sorted(index(tmp_path)["path"]) == sorted(map(str, paths))


def test_waiting_for_another_process_says_so(tmp_path, tracks):
    folder = tmp_path / "store" / str(RATE)
    folder.mkdir(parents=True)
    with zoo.decoding.filelock.FileLock(folder / ".lock"):
        process = start(tmp_path, tracks[:3])
        assert process.stderr
        assert f"decoding into {folder}" in process.stderr.readline()
        assert process.poll() is None and not shards(tmp_path)
    assert process.wait(60) == 0
    process.stderr.close()
    assert_complete(Store.open(tmp_path, RATE, tracks[:3]), tracks[:3])


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def overwrite(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros(10, np.int16))


@pytest.mark.filterwarnings("ignore:.*damaged")
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("damage", [halve, empty, overwrite, Path.unlink])
def test_a_damaged_shard_is_ignored_and_decoded_again(
    tmp_path, tracks, small_shards, suffix, damage
):
    prepare(tracks, RATE, tmp_path, progress=False)
    damage(next(tmp_path.glob(f"store/*/*{suffix}")))
    if suffix == ".parquet" and damage is Path.unlink:  # then it never existed
        store = Store.open(tmp_path, RATE, tracks)
    else:
        with pytest.warns(UserWarning, match="damaged"):
            store = Store.open(tmp_path, RATE, tracks)
    assert 0 < len(store) < len(tracks)
    assert_complete(store, [path for path in tracks if str(path) in store.paths])
    store, report = prepare(tracks, RATE, tmp_path, progress=False)
    assert report.empty
    assert_complete(store, tracks)


@pytest.fixture
def merged(tmp_path, tracks, monkeypatch) -> Path:
    """A store of one track a shard whose indices are merged."""
    monkeypatch.setattr(zoo.decoding, "SHARD_BYTES", 1)
    monkeypatch.setattr(zoo.shards, "MOST_LOOSE", 3)
    prepare(tracks[:3], RATE, tmp_path, progress=False)
    assert not (tmp_path / "store" / f"{RATE}.parquet").exists()
    prepare(tracks, RATE, tmp_path, progress=False)
    return tmp_path / "store" / f"{RATE}.parquet"


def test_numpy_and_pandas_read_the_merged_index(merged, tracks):
    table = pd.read_parquet(merged)
    assert sorted(table["path"]) == sorted(map(str, tracks))
    for entry in table.itertuples():
        samples = np.load(merged.with_suffix("") / f"{entry.shard}.npy", mmap_mode="r")
        part = samples[entry.offset : entry.offset + entry.length]
        np.testing.assert_array_equal(part, decode(entry.path, RATE))


def test_merged_indices_are_not_read_again(merged, tmp_path, tracks):
    for file in merged.with_suffix("").glob("*.parquet"):
        empty(file)
    assert_complete(Store.open(tmp_path, RATE, tracks), tracks)


def test_what_is_newer_than_the_merged_index_counts(merged, tmp_path, tracks):
    copies = [tmp_path / f"copy{i}.wav" for i in range(6)]
    for copy, track in zip(copies, tracks, strict=False):
        copy.write_bytes(track.read_bytes())
    before = merged.stat().st_ino
    prepare(copies[:2], RATE, tmp_path, progress=False)
    copies[0].write_bytes(tracks[10].read_bytes())
    prepare(copies[:1], RATE, tmp_path, progress=False)
    assert merged.stat().st_ino == before
    store = Store.open(tmp_path, RATE, [*copies, *tracks])
    assert store.paths == [str(path) for path in (*copies[:2], *tracks)]
    assert_complete(store.select(np.arange(2)), copies[:2])
    prepare(copies, RATE, tmp_path, progress=False)
    assert merged.stat().st_ino != before
    assert len(pd.read_parquet(merged)) == len(tracks) + 7
    assert_complete(Store.open(tmp_path, RATE, copies), copies)  # the newest still


@pytest.mark.parametrize("damage", [halve, empty, overwrite, Path.unlink])
def test_a_damaged_merged_index_costs_nothing_but_time(merged, tmp_path, tracks, damage):
    damage(merged)
    before = shards(tmp_path)
    assert_complete(Store.open(tmp_path, RATE, tracks), tracks)
    assert_complete(prepare(tracks, RATE, tmp_path, progress=False)[0], tracks)
    assert shards(tmp_path) == before


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("damage", [halve, empty, overwrite, Path.unlink])
def test_a_damaged_shard_in_the_merged_index(merged, tmp_path, tracks, damage, suffix):
    damage(next(merged.with_suffix("").glob(f"*{suffix}")))
    if suffix == ".parquet" and damage is not Path.unlink:
        assert_complete(Store.open(tmp_path, RATE, tracks), tracks)  # its repetition is whole
        return
    with pytest.warns(UserWarning, match="damaged"):
        assert len(Store.open(tmp_path, RATE, tracks)) == len(tracks) - 1
        assert_complete(prepare(tracks, RATE, tmp_path, progress=False)[0], tracks)


def test_writing_takes_no_memory_for_the_shard(tmp_path):
    samples = np.random.default_rng(0).integers(-9, 9, 500_000).astype(np.int16)  # 1 MB
    tracemalloc.start()
    writer = zoo.shards.Writer(tmp_path, RATE, 100 * samples.nbytes)
    for i in range(50):
        writer.add((f"/{i}.wav", 1, 1), samples + np.int16(i))
    writer.finish()
    assert tracemalloc.get_traced_memory()[1] < 5 * samples.nbytes
    tracemalloc.stop()
    (file,) = tmp_path.glob("*.npy")
    assert np.load(file, mmap_mode="r").shape == (50 * len(samples),)


def test_a_track_that_was_interrupted_is_cut_off(tmp_path, tracks):
    folder = zoo.store.folder_of(tmp_path, RATE)
    folder.mkdir(parents=True)
    writer = zoo.shards.Writer(folder, RATE, 10**9)
    for path in tracks[:2]:
        writer.add((str(path), *identity(str(path))), decode(path, RATE))
    writer._npy.write(decode(tracks[2], RATE).tobytes()[:1001])
    writer.finish()
    assert_complete(Store.open(tmp_path, RATE, tracks), tracks[:2])
    assert np.load(next(folder.glob("*.npy"))).dtype == np.int16


def test_leftovers_are_removed_after_a_day(tmp_path, tracks):
    folder = tmp_path / "store" / str(RATE)
    folder.mkdir(parents=True)
    old, new = (
        [folder / f"{age}.npy.tmp", folder / f"{age}.parquet.tmp", folder / f"{age}.npy"]
        for age in ("old", "new")
    )
    for file in [*old, *new]:
        file.write_bytes(b"cut sh")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    for file in old:
        os.utime(file, (two_days_ago, two_days_ago))
    prepare(tracks[:2], RATE, tmp_path, progress=False)
    assert not any(file.exists() for file in old)
    assert all(file.exists() for file in new)


def test_an_unexpected_error_is_not_swallowed(tmp_path, tracks):
    with pytest.raises(RuntimeError, match=r"decoding .*000\.wav failed:\n(?s:.*)soxr"):
        prepare(tracks, -1, tmp_path, progress=False)  # a sample rate that no user can ask for


def test_progress_is_shown_in_a_terminal_unless_refused(tmp_path, tracks, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    prepare(tracks[:3], RATE, tmp_path / "a")
    assert "decoding" in capsys.readouterr().err
    prepare(tracks[:3], RATE, tmp_path / "b", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_cache_that_cannot_be_written(tmp_path, tracks):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match=f"{file}.*GENRE_ZOO_CACHE"):
        prepare(tracks, RATE, file, progress=False)


def test_a_full_disk(tmp_path, tracks):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            prepare(tracks, RATE, tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.glob("store/*/*")] == [".lock"]
    assert_complete(prepare(tracks, RATE, tmp_path, progress=False)[0], tracks)


def test_default_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GENRE_ZOO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache() == tmp_path / ".cache" / "genre-zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "genre-zoo"
    monkeypatch.setenv("GENRE_ZOO_CACHE", "~/zoo")
    assert default_cache() == tmp_path / "zoo"
