"""Runs that end before their end: kills, signals, full disks; and runs on two processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import TINY_SYNTH, Run, torchrun
from zoo import checkpoint
from zoo.config import compose
from zoo.errors import InputError
from zoo.results import read_result
from zoo.signals import exiting
from zoo.train import main as train

QUICK = ("model=crnn", "epochs=3", "threads=2", "clip_seconds=3", "augment.mixup=0.4")
QUICK += ("batch_size=4",)  # 10 steps an epoch
EACH_STEP = "checkpoint_minutes=0"  # a checkpoint after every step, so that kills hit its writing


def values(folder: Path, *more: str) -> list[str]:
    return [*QUICK, *TINY_SYNTH, f"output_dir={folder}", *more]


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet")


def log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv").drop(columns="seconds")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(compose("train", values(folder)))


def assert_equal(folder: Path, uninterrupted: Path) -> None:
    pd.testing.assert_frame_equal(scores(folder), scores(uninterrupted), check_exact=True)
    pd.testing.assert_frame_equal(log(folder), log(uninterrupted), check_exact=True)
    before, now = read_result(uninterrupted), read_result(folder)
    assert before.metrics == now.metrics and before.recipe == now.recipe
    assert before.costs.steps == now.costs.steps


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a training as a user does."""
    command = [sys.executable, "-m", "zoo.train", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() and process.poll() is None:
        assert time.monotonic() < deadline, f"{file} was never written"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_signal_checkpoints_in_the_middle_of_an_epoch(
    uninterrupted: Path, tmp_path: Path
) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    process = start(*values(tmp_path / "run", EACH_STEP))
    wait_for(last, process)  # the first step
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "stopped by a signal after epoch 0 and" in output and "resume=true" in output
    assert 0 < checkpoint.load(last)["progress"]["step"] <= 10
    train(compose("train", values(tmp_path / "run", "resume=true")))
    assert_equal(tmp_path / "run", uninterrupted)


def test_a_signal_outside_the_loop_ends_with_the_same_code() -> None:
    with pytest.raises(SystemExit) as caught, exiting():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 75
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def killed_and_resumed(folder: Path, after: float) -> int:
    """Kill a run so many seconds after its folder is there, resume it; return steps done before."""
    process = start(*values(folder, EACH_STEP))
    wait_for(folder / "config.yaml", process)
    time.sleep(after)
    process.kill()
    process.communicate()
    last = folder / "checkpoints" / "last.pt"
    progress = checkpoint.load(last)["progress"] if last.exists() else {"clips": 0}
    train(compose("train", values(folder, "resume=true", EACH_STEP)))
    return progress["clips"]


def test_a_killed_run_is_continued(uninterrupted: Path, tmp_path: Path) -> None:
    assert killed_and_resumed(tmp_path / "run", after=1.5) >= 0
    assert_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_ten_kills_at_random_moments(uninterrupted: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    places = set()
    for number in range(10):
        places.add(killed_and_resumed(tmp_path / str(number), after=draw.uniform(0, 6)))
        assert_equal(tmp_path / str(number), uninterrupted)
    assert len(places) > 3


@pytest.mark.slow
def test_resume_without_a_checkpoint_starts_anew(uninterrupted: Path, tmp_path: Path) -> None:
    train(compose("train", values(tmp_path / "run", "resume=true")))
    assert_equal(tmp_path / "run", uninterrupted)


def test_a_finished_run_prints_its_result(
    uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (uninterrupted / "result.json").stat().st_mtime_ns
    train(compose("train", values(uninterrupted, "resume=true")))
    assert f"result: {uninterrupted / 'result.json'}" in capsys.readouterr().out
    assert (uninterrupted / "result.json").stat().st_mtime_ns == before


def test_resume_needs_a_folder() -> None:
    with pytest.raises(InputError, match="resume=true needs output_dir=DIR"):
        train(compose("train", [*QUICK, *TINY_SYNTH, "resume=true"]))


@pytest.mark.slow
def test_another_recipe_or_other_data_are_refused(uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"another recipe \(it differs in optimizer.lr\)"):
        train(compose("train", values(uninterrupted, "resume=true", "optimizer.lr=0.1")))
    folder = tmp_path / "run"
    train(compose("train", values(folder)))
    (folder / "result.json").unlink()
    last = folder / "checkpoints" / "last.pt"
    state = checkpoint.load(last)
    checkpoint.save(last, {**state, "same": {**state["same"], "test tracks": "other"}})
    with pytest.raises(InputError, match="of a run with other test tracks than there are now"):
        train(compose("train", values(folder, "resume=true")))
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is not a checkpoint of this version"):
        train(compose("train", values(folder, "resume=true")))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    checkpoint.save(folder / "last.pt", {"epoch": torch.tensor(1)})
    (folder / "last.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(folder / "last.pt", {"epoch": torch.tensor(2)})
    assert checkpoint.load(folder / "last.pt")["epoch"] == 1
    assert [file.name for file in folder.iterdir()] == ["last.pt"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_run_on_a_full_disk_says_so_and_goes_on_later(
    uninterrupted: Path, tmp_path: Path, python: Run
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").symlink_to("/dev/full")
    full = python("zoo.train", *values(tmp_path / "run", EACH_STEP), cwd=tmp_path)
    assert full.returncode == 2 and "Traceback" not in full.stderr
    sentence = full.stderr.strip().splitlines()[-1]
    assert "No space left on device" in sentence and "last.pt is whole" in sentence
    assert f"output_dir={tmp_path / 'run'} resume=true" in sentence
    (tmp_path / "run" / "log.csv").unlink()
    train(compose("train", values(tmp_path / "run", "resume=true")))
    assert_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_phases_begin_with_the_best_weights(tmp_path: Path) -> None:
    """A second optimiser with rate 0 leaves the best weights as they are."""
    phases = "optimizer.phases=[{epoch: 2, name: sgd, lr: 0.0}]"
    more = ["ema_decay=0", "epochs=4", phases, "model.backend.dropout=0"]
    train(compose("train", values(tmp_path / "run", *more)))
    best = checkpoint.load(tmp_path / "run" / "checkpoints" / "best.pt")["model"]
    last = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.pt")
    assert last["phase"] == 1
    for name, tensor in best.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, last["model"][name]), name


@pytest.mark.slow
def test_two_processes_score_each_track_once(tmp_path: Path, python: Run) -> None:
    two = ["precision=fp32", f"output_dir={tmp_path / 'run'}"]
    done = torchrun(tmp_path, *QUICK, *TINY_SYNTH, "threads=1", *two)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rank it: python -m leaderboard show") == 1
    result = read_result(tmp_path / "run")
    assert result.hardware.num_processes == 2
    tested = scores(tmp_path / "run")
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    assert tested["track"].is_unique
    assert set(tested["track"]) == set(split["track"][split["split"] == "test"])

    again = python("zoo.evaluate", "run", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    one = pd.read_parquet(tmp_path / "again" / "scores.parquet")
    assert one["track"].tolist() == tested["track"].tolist()
    np.testing.assert_allclose(one.filter(like="p:"), tested.filter(like="p:"), atol=1e-6)
    uneven = torchrun(tmp_path, *QUICK, *TINY_SYNTH, "batch_size=7")
    assert uneven.returncode != 0
    assert "batch_size=7 cannot be shared by 2 processes" in uneven.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(Path(__file__).parents[1]) not in (
        uneven.stderr
    )


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    """Both write nothing but one checkpoint, whichever of them hears the signal."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "zoo.train", "threads=1", "epochs=50", "patience=50"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *TINY_SYNTH, "model=linear", "batch_size=4", f"output_dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    wait_for(folder / "checkpoints" / "last.pt", process)
    process.send_signal(signal.SIGTERM)  # which torchrun hands on to both
    output, _ = process.communicate(timeout=120)
    assert output.count("stopped by a signal after") == 1, output
    state = checkpoint.load(folder / "checkpoints" / "last.pt")
    assert 0 < state["progress"]["epoch"] < 50
    assert json.loads(json.dumps(state["progress"]))["clips"] > 0
