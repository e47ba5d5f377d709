"""Engines: nothing is lost, whatever is killed; two who run the same suite do not get in each
other's way; and `local` and `ray` give the same scores."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from benchmarks.engines import Shares, run_local, run_ray, share_out
from benchmarks.job import Job
from benchmarks.measure import read, write
from benchmarks.suite import expand, read_suite
from benchmarks.tasks import LOCK, LOG, Outcome, Processes, Task, locked
from tests.conftest import TINY_SYNTH, Run
from zoo.pooling import pool
from zoo.results import FILE, SCORES, read_result, write_result

WAIT = 120  # s, at most, for what takes seconds


def script(folder: Path, code: str, name: str = "task") -> Task:
    """Return a task that runs some Python; done when `done` is in its folder."""
    module = folder.parent / f"{name}_module.py"
    module.write_text(f"from pathlib import Path\nimport os, sys, time\n{code}\n")
    return Task(name, (module.stem,), folder, (folder / "done",))


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `python -m` find what a test writes."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def nothing(_: Outcome) -> None:
    """Report to nobody."""


def test_a_machine_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("benchmarks.engines.num_cores", lambda: 8)
    assert share_out(20, None, None) == Shares(8, 1)
    assert share_out(2, None, None) == Shares(2, 4)
    assert share_out(20, None, 3) == Shares(2, 3)
    assert share_out(20, 3, None) == Shares(3, 2)
    assert share_out(0, None, None).workers == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-x")
    shares = share_out(20, None, None)
    assert (shares.workers, shares.threads) == (2, 4)
    assert [shares.environment(w)["CUDA_VISIBLE_DEVICES"] for w in range(3)] == ["4", "GPU-x", "4"]


def test_one_failure_is_told_with_its_end_and_the_others_go_on(tmp_path: Path) -> None:
    good = [
        script(
            tmp_path / f"good{i}", f"Path({str(tmp_path / f'good{i}' / 'done')!r}).touch()", f"g{i}"
        )
        for i in range(3)
    ]
    bad = script(tmp_path / "bad", "print('on the way'); sys.exit('no such genre')", "bad")
    silent = script(tmp_path / "silent", "pass", "silent")  # ends well, and leaves nothing
    told: list[Outcome] = []
    outcomes = run_local([bad, silent, *good], Shares(2, 1), told.append)
    assert {o.task.name: o.failed for o in outcomes} == {
        **dict.fromkeys(("g0", "g1", "g2"), False),
        **dict.fromkeys(("bad", "silent"), True),
    }
    reason = next(o.reason for o in told if o.task is bad)
    assert reason.splitlines() == ["on the way", "no such genre"]
    again = run_local(good, Shares(1, 1), nothing)
    assert all(o.seconds == 0 and not o.failed for o in again)


def test_who_comes_later_waits_for_the_lock_even_of_an_orphan(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = f"time.sleep(1.5); Path({str(folder / 'done')!r}).open('x')"
    task = script(folder, code)
    first = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tests.test_engines import run_one; run_one()"],
        env={**os.environ, "TASK": str(folder)},
        cwd=Path(__file__).parents[1],
    )
    until(lambda: (folder / LOG).exists() and _is_locked(folder / LOCK))
    time.sleep(0.5)
    first.kill()  # its child goes on, and holds the lock
    first.wait()
    outcome = Processes().run(task, {})
    assert not outcome.failed and outcome.seconds == 0  # the orphan did it: 'x' would fail twice


def run_one() -> None:
    """Run a task in a process that is about to be killed."""
    folder = Path(os.environ["TASK"])
    Processes().run(Task("task", ("task_module",), folder, (folder / "done",)), {})


def _is_locked(file: Path) -> bool:
    import fcntl

    with file.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_stopping_stops_what_runs_and_begins_nothing_more(tmp_path: Path) -> None:
    folders = [tmp_path / str(i) for i in range(3)]
    tasks = [script(f, "time.sleep(60)", f"sleeper{i}") for i, f in enumerate(folders)]
    processes = Processes()
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(processes.run(tasks[0], {})))
    thread.start()
    until((folders[0] / LOG).exists)
    time.sleep(0.3)
    processes.stop()
    thread.join(WAIT)
    assert outcomes[0].code == -signal.SIGTERM
    assert processes.run(tasks[1], {}).failed and not folders[1].exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> list[Job]:
    """Two seeds of a tiny suite, trained without any disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    jobs = tiny_jobs(folder)
    outcomes = run_local([training(job) for job in jobs], Shares(2, 1), nothing)
    assert not any(outcome.failed for outcome in outcomes), outcomes
    return jobs


def tiny_suite(folder: Path) -> Path:
    grid = {"data": [{"dataset": "synth"}], "models": [{"model": "linear"}], "seeds": [0, 1]}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"about": "Tiny", "settings": {"epochs": 2}, "grids": [grid]}))
    return file


def tiny_jobs(folder: Path) -> list[Job]:
    jobs, _ = expand(read_suite(str(tiny_suite(folder))), TINY_SYNTH, folder / "runs")
    return jobs


def training(job: Job) -> Task:
    from benchmarks.__main__ import training

    return training(job, 1)


def scores(folder: Path) -> np.ndarray:
    table = pd.read_parquet(folder / SCORES["test"])
    return table.filter(like="p:").to_numpy()


def same_scores(ours: list[Job], theirs: list[Job]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all((scores(a.folder) == scores(b.folder)).all() for a, b in pairs)


@pytest.mark.slow
def test_64_processes_that_add_results_at_once_lose_none(
    finished: list[Job], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(64)
    source = finished[0].folder
    adders = [context.Process(target=add, args=(source, tmp_path, i, barrier)) for i in range(64)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join(WAIT)
    assert all(adder.exitcode == 0 for adder in adders)
    pooled = pool((tmp_path / "runs").iterdir(), report=pytest.fail)
    assert sorted(one.runs[0].result.seed for one in pooled) == list(range(64))
    assert len(read(tmp_path / "shared", "cost")) == 1000  # one of the 64, whole
    assert not [*tmp_path.rglob("*.part")]


def add(source: Path, place: Path, number: int, barrier: threading.Barrier) -> None:
    """Add a result of its own, and write a file that all write, in the same moment."""
    barrier.wait(WAIT)
    folder = place / "runs" / str(number)
    folder.mkdir(parents=True)
    for name in SCORES.values():
        shutil.copy(source / name, folder)
    write_result(folder, read_result(source).model_copy(update={"seed": number}))
    table = pd.DataFrame({"value": np.full(1000, number)})
    write(place / "shared" / "measures" / "cost.parquet", table)


@pytest.mark.slow
def test_a_suite_that_is_killed_ends_with_the_same_table(
    finished: list[Job], tmp_path: Path
) -> None:
    assert killed_suite_scores(finished, tmp_path, num_kills=3)


@pytest.mark.slow
def test_a_suite_that_is_killed_20_times_ends_with_the_same_table(
    finished: list[Job], tmp_path: Path
) -> None:
    assert killed_suite_scores(finished, tmp_path, num_kills=20)


def killed_suite_scores(finished: list[Job], folder: Path, num_kills: int) -> bool:
    """Kill the harness and all that it started again and again, then let it end; return whether the
    table's scores are those of the undisturbed one."""
    random = np.random.default_rng(0)
    suite = tiny_suite(folder)
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        f"suite={suite}",
        f"output_dir={folder / 'runs'}",
    ]
    command += [*TINY_SYNTH, "workers=2", "threads=1"]
    for _ in range(num_kills):
        harness = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(1, 8))
        victims = [*psutil.Process(harness.pid).children(recursive=True), harness]
        for victim in victims:  # as a machine does that loses power
            victim.kill()
        harness.wait()
        for file in folder.rglob(FILE):
            read_result(file.parent)  # whole, or not there
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = tiny_jobs(folder)
    accuracies = [read_result(job.folder).metrics["test"]["accuracy"] for job in finished]
    assert f" {np.mean(accuracies):.3f} |" in done.stdout
    return same_scores(finished, jobs)


@pytest.mark.slow
def test_sigterm_ends_the_harness_with_75_and_it_goes_on_later(
    finished: list[Job], tmp_path: Path
) -> None:
    suite = tiny_suite(tmp_path)
    command = [sys.executable, "-m", "benchmarks", f"suite={suite}", *TINY_SYNTH, "epochs=1000"]
    command += [f"output_dir={tmp_path / 'runs'}", "workers=1", "threads=1"]
    harness = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until(lambda: any("epoch 1/" in log.read_text() for log in tmp_path.rglob(LOG)))
    harness.send_signal(signal.SIGTERM)
    assert harness.wait(WAIT) == 75
    (log,) = tmp_path.rglob(LOG)
    assert "checkpoint written" in log.read_text()
    assert (log.parent / "checkpoints" / "last.pt").exists()


@pytest.fixture(scope="module")
def ray() -> object:
    pytest.importorskip("ray", reason="needs Ray")
    return None


@pytest.mark.slow
def test_ray_gives_the_scores_of_local(ray: object, finished: list[Job], tmp_path: Path) -> None:
    jobs = tiny_jobs(tmp_path)
    outcomes = run_ray([training(job) for job in jobs], 1, nothing)
    assert not any(outcome.failed for outcome in outcomes), outcomes
    assert same_scores(finished, jobs)


@pytest.mark.slow
def test_ray_tries_again_where_a_worker_is_lost(ray: object, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        f"tries = Path({str(tmp_path / 'tries')!r}); tries.open('a').write('x')\n"
        "import psutil\n"
        "if tries.stat().st_size == 1:\n"
        "    psutil.Process(os.getppid()).kill()\n"
        "    sys.exit(9)\n"
        f"Path({str(folder / 'done')!r}).touch()"
    )
    (outcome,) = run_ray([script(folder, code)], 1, nothing)
    assert not outcome.failed
    assert (tmp_path / "tries").read_text() == "xx"


@pytest.mark.slow
def test_ray_says_so_where_no_machine_is_large_enough(
    ray: object, tmp_path: Path, python: Run
) -> None:
    suite = tiny_suite(tmp_path)
    typed = (f"suite={suite}", *TINY_SYNTH, "engine=ray", "threads=4096")
    done = python("benchmarks", *typed, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("error:") == 1
    assert "no machine of the cluster has 4096 CPUs" in done.stderr


def test_a_lock_lasts_as_long_as_it_is_held(tmp_path: Path) -> None:
    with locked(tmp_path / LOCK):
        assert _is_locked(tmp_path / LOCK)
    assert not _is_locked(tmp_path / LOCK)
