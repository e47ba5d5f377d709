"""Decoding in processes: crashes, hangs and bloat cost one file; nothing is left behind."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import zoo.workers
from zoo.audio import decode
from zoo.decode_worker import LARGE
from zoo.decoder import Decoded
from zoo.index import Key, identity
from zoo.workers import decode_all

RATE = 16_000
ROOT = Path(__file__).parents[1]

SCRIPT = """
import sys
from pathlib import Path
from zoo.decoding import prepare
folder = Path(sys.argv[1])
store, report = prepare(sorted(folder.glob("*.wav")), 16_000, folder / "cache", workers=2)
print(len(store), len(report))
"""

HANGING = """
import sys
import zoo.workers
from zoo.index import identity
zoo.workers.WORKER = "unruly_worker"
paths = sys.argv[1:]
list(zoo.workers.decode_all([(path, *identity(path)) for path in paths], 16_000, 2))
"""


def write(folder: Path, *names: str) -> list[Key]:
    """Noise of another length in each file."""
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{name}.wav") for name in names]
    for i, path in enumerate(paths):
        sf.write(path, rng.uniform(-0.5, 0.5, RATE // 2 + 100 * i), RATE)
    return [(path, *identity(path)) for path in paths]


def names(num: int) -> list[str]:
    return [f"{i:02d}" for i in range(num)]


def check(
    results: list[tuple[Key, Decoded | str]], keys: list[Key], reasons: dict[str, str]
) -> None:
    """Every file is there, in order, with its samples or the reason by its name."""
    assert [key for key, _ in results] == keys
    for (path, _, _), result in results:
        if reason := reasons.get(Path(path).stem):
            assert result == reason
        else:
            np.testing.assert_array_equal(result.samples, decode(path, RATE))


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.workers, "WORKER", "unruly_worker")


def processes(folder: Path) -> list[int]:
    """Return the processes that `unruly_worker` ran in."""
    file = folder / "processes"
    return [int(line) for line in dict.fromkeys(file.read_text().split())] if file.exists() else []


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 3])
def test_samples_come_in_order(tmp_path, workers):
    keys = write(tmp_path, *names(40))
    check(list(decode_all(keys, RATE, workers)), keys, {})


def test_a_long_file_comes_from_the_disk_and_is_gone_after(tmp_path):
    keys = write(tmp_path, "a", "b", "c")
    x = np.random.default_rng(0).uniform(-0.5, 0.5, LARGE + 1)
    sf.write(keys[1][0], x, RATE)
    keys[1] = (keys[1][0], *identity(keys[1][0]))
    spool = tmp_path / "spool"
    results = list(decode_all(keys, RATE, 2, spool))
    check(results, keys, {})
    assert isinstance(results[1][1].samples.base.obj, mmap.mmap)
    assert spool.is_dir() and not list(spool.iterdir())


def test_a_long_file_without_room_is_refused(tmp_path):
    keys = write(tmp_path, "a")
    sf.write(keys[0][0], np.full(LARGE + 1, 0.5), RATE)
    keys = [(keys[0][0], *identity(keys[0][0]))]
    (tmp_path / "file").touch()
    ((_, reason),) = decode_all(keys, RATE, 1, tmp_path / "file" / "spool")
    assert reason.startswith("is long and needs room in ")


def test_no_longer_than_allowed(tmp_path):
    keys = write(tmp_path, "a")
    ((_, reason),) = decode_all(keys, RATE, 1, max_seconds=0.25)
    assert reason.startswith("announces more than 0.00416667 min (")


def test_tags_come_along(tmp_path):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    for suffix in ("wav", "flac", "ogg"):
        with sf.SoundFile(tmp_path / f"a.{suffix}", "w", RATE, 1) as file:
            file.artist, file.title = "Beyoncé\nKnowles", "Halo" * 200
            file.write(x)
    artist = b"TPE1\0\0\0\x11\0\0\3" + "Beyoncé Knowles".encode()  # of ID3v2.4, in UTF-8
    sf.write(tmp_path / "plain.mp3", x, RATE)
    audio = (tmp_path / "plain.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(b"ID3\4\0\0\0\0\0\x1b" + artist + audio)
    keys = [(str(path), *identity(str(path))) for path in sorted(tmp_path.glob("*.*"))]
    tags = {Path(path).name: result.tags for (path, *_), result in decode_all(keys, RATE, 1)}
    assert tags.pop("plain.mp3") == ("", "")
    assert {tag.artist for tag in tags.values()} == {"Beyoncé Knowles"}
    assert tags["a.flac"].title.startswith("Halo") and len(tags["a.flac"].title) == 500


def test_no_files_no_processes():
    assert list(decode_all([], RATE, 2)) == []


@pytest.mark.parametrize(("num", "expected"), [(1, 1), (8, 1), (9, 2), (40, 2)])
def test_few_files_take_few_processes(tmp_path, unruly, num, expected):
    keys = write(tmp_path, *names(num))
    check(list(decode_all(keys, RATE, 2)), keys, {})
    assert 1 <= len(processes(tmp_path)) <= expected


def test_samples_that_do_not_all_come_are_none(tmp_path, unruly):
    keys = write(tmp_path, "0", "1 short", "2")
    reasons = {"1 short": "made the decoder crash (exit code 0)"}
    check(list(decode_all(keys, RATE, 1)), keys, reasons)


def test_crash_hang_and_bloat_cost_one_file_each(tmp_path, unruly, monkeypatch):
    monkeypatch.setattr(zoo.workers, "time_limit", lambda num_bytes: 3.0)
    keys = write(tmp_path, *names(12), "12 crash", "13", "14 hang", "15", "16 bloat", "17")
    reasons = {
        "12 crash": "made the decoder crash (SIGSEGV)",
        "14 hang": "needs more than 3 s to decode",
        "16 bloat": "needs more than 0.5 GB of memory to decode",
    }
    check(list(decode_all(keys, RATE, 2)), keys, reasons)


def test_a_good_file_after_one_that_spoilt_the_process(tmp_path, unruly):
    keys = write(tmp_path, "a poison", "b")
    check(list(decode_all(keys, RATE, 1)), keys, {})
    assert len(processes(tmp_path)) == 2


def test_a_fault_of_ours_is_told(tmp_path, unruly):
    with pytest.raises(
        RuntimeError, match=r"fault\.wav failed:\n(?s:.*)ZeroDivisionError: a fault"
    ):
        list(decode_all(write(tmp_path, "fault"), RATE, 1))


def test_a_worker_that_does_not_start(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(zoo.workers, "WORKER", "no_such_module")
    with pytest.raises(RuntimeError, match="no_such_module does not start; its error is above"):
        list(decode_all(write(tmp_path, "a"), RATE, 1))
    assert "No module named no_such_module" in capfd.readouterr().err


def test_closing_ends_the_processes_at_once(tmp_path, unruly):
    keys = write(tmp_path, *names(8), "hang", "x")
    results = decode_all(keys, RATE, 2)
    assert [next(results)[0] for _ in range(8)] == keys[:8]
    assert any(map(is_running, processes(tmp_path)))
    begin = time.monotonic()
    results.close()
    assert not any(map(is_running, processes(tmp_path)))
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent(tmp_path, end):
    paths = [path for path, _, _ in write(tmp_path, "hang 1", "hang 2", *names(8))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, "-c", HANGING, *paths]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(processes(tmp_path)) == 2)
    assert all(map(is_running, processes(tmp_path)))
    parent.send_signal(end)
    assert parent.wait(30)
    wait_for(lambda: not any(map(is_running, processes(tmp_path))))


@pytest.mark.parametrize("way", ["file", "command", "input", "module"])
def test_scripts_without_a_main_guard(tmp_path, way):
    write(tmp_path, *names(20))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ways = {
        "file": [str(script)],
        "command": ["-c", SCRIPT],
        "input": ["-"],
        "module": ["-m", "script"],
    }
    done = subprocess.run(
        [sys.executable, *ways[way], str(tmp_path)],
        input=SCRIPT if way == "input" else "",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "20 0\n" and not done.stderr


def test_modules_beside_the_user_are_not_taken_for_others(tmp_path, monkeypatch):
    for name in ("json", "soundfile", "zoo"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    keys = write(tmp_path, "a")
    check(list(decode_all(keys, RATE, 1)), keys, {})


def test_a_worker_is_light():
    heavy = ["torch", "pandas", "pyarrow", "scipy", "librosa"]
    code = f"import sys, zoo.decode_worker; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n"
