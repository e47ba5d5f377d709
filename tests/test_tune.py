"""Tuning: what is searched, that it helps on validation, and that it goes on after whatever."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from benchmarks import tuning
from benchmarks.job import Job
from benchmarks.search import RANDOM_TRIALS, Choices, Range, propose, read_spaces, space_of
from benchmarks.suite import expand, read_suite
from benchmarks.tasks import Outcome, Task
from benchmarks.tuning import Study
from tests.conftest import TINY_SYNTH, Run
from zoo.config import assign, compose
from zoo.errors import InputError
from zoo.registry import choices
from zoo.results import FILE, Costs, Hardware, Protocol, Result, flat, write_result

ROWS = ({"model": "linear"}, {"model": "linear", "frontend": "mfcc"})
BEST = 3.0e-4  # the learning rate at which `validation_of` is highest
LR = "optimizer.lr"


def suite_of(folder: Path, *rows: dict[str, str], **changes: object) -> Path:
    """Write a suite of such rows, and return its file."""
    grid = {"data": [{"dataset": "synth"}], "models": [*rows], "seeds": [0, 1]}
    content = {"about": "tiny", "settings": {"epochs": 1}, "grids": [grid], "tune": {"trials": 6}}
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return file


def plan(folder: Path, *rows: dict[str, str], typed: Sequence[str] = (), **changes: object):
    """Return the studies of a suite."""
    typed, suite = (*TINY_SYNTH, *typed), read_suite(str(suite_of(folder, *rows, **changes)))
    jobs, absent = expand(suite, typed, folder)
    assert not absent and suite.tune is not None
    return tuning.plan(suite.tune, jobs, typed, folder / tuning.FOLDER)


def validation_of(job: Job) -> float:
    return 1 - abs(math.log10(job.config["optimizer"]["lr"] / BEST))


class Trainer:
    """In place of an engine: says at once what a run would have come to."""

    def __init__(self, value: Callable[[Job], float] = validation_of) -> None:
        self.value = value
        self.trained: list[Job] = []

    def __call__(self, jobs: Sequence[Job]) -> list[Outcome]:
        return [self.train(job) for job in jobs if not (job.folder / FILE).exists()]

    def train(self, job: Job) -> Outcome:
        self.trained.append(job)
        task = Task(job.name, ("zoo.train",), job.folder, (job.folder / FILE,))
        try:
            value = self.value(job)
        except FloatingPointError:
            return Outcome(task, 1.0, 2, "training diverged")
        job.folder.mkdir(parents=True)
        write_result(job.folder, result_of(job, value))
        return Outcome(task, 1.0, 0)


def result_of(job: Job, validation: float) -> Result:
    """A run's result; on the test tracks the better, the worse it is on the others."""
    numbers = dict.fromkeys(Costs.model_fields, 1)
    protocol = {"dataset": "synth", "split": "artist", "fold": None, "classes": ["a", "b"]}
    protocol |= {"multilabel": False, "evaluation": "complete"}
    protocol |= {"train_fingerprint": "", "test_fingerprint": ""}
    return Result(
        model="linear",
        frontend="mel",
        protocol=Protocol(**protocol),
        recipe="",
        seed=job.seed,
        threads=1,
        precision="fp32",
        clip_seconds=3.0,
        metrics={"validation": {"accuracy": validation}, "test": {"accuracy": -validation}},
        best_epoch=1,
        costs=Costs(**numbers),
        hardware=Hardware(device="cpu", processor="Z80", num_cores=1, num_processes=1),
        versions={},
        config=dict(job.config),
        left_out=0,
    )


def tune(studies: list[Study], trainer: Trainer) -> Trainer:
    tuning.tune(studies, studies[0].folder.parents[1], trainer)
    return trainer


def composed(*arguments: str) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(compose("train", arguments))
    return content


# What is searched


def test_each_method_says_what_is_searched() -> None:
    assert set(read_spaces()) == set(choices("finetune"))


@pytest.mark.parametrize("method", choices("finetune"))
def test_each_value_can_be_set_and_the_default_is_one_of_them(method: str) -> None:
    config = composed(f"finetune={method}")
    own = flat(config)
    space = space_of(config, ())
    assert set(space) == set(read_spaces()[method])
    for key, values in space.items():
        ends = values.choices if isinstance(values, Choices) else [values.low, values.high]
        for end in ends:
            assert flat(assign(config, [f"{key}={json.dumps(end)}"]))[key] == end
        if isinstance(values, Range):
            assert values.low < own[key] < values.high and type(own[key]) is type(values.low)
        else:
            assert own[key] in values.choices


def test_what_somebody_set_stays() -> None:
    config = composed("finetune=layerwise")
    assert set(space_of(config, [LR])) == {"finetune.layer_decay"}
    assert not space_of(composed("recipe=published", "model=musicnn"), ())
    assert set(space_of(composed("optimizer.weight_decay=0"), ())) == {LR}


SPACE = {
    LR: Range(low=1e-5, high=1e-2, log=True),
    "finetune.rank": Range(low=2, high=32, log=True),
    "loss.class_weights": Choices(choices=[False, True]),
}


def search(num_trials: int, seed: int) -> list[tuple[dict[str, Any], float | None]]:
    tried: list[tuple[dict[str, Any], float | None]] = []
    for _ in range(num_trials):
        parameters = propose(SPACE, tried, seed)
        off = abs(math.log10(parameters[LR] / BEST)) + parameters["loss.class_weights"]
        tried.append((parameters, None if parameters[LR] > 5e-3 else -off))
    return tried


def test_proposals_follow_from_what_was_tried_and_lie_inside() -> None:
    once = search(10, seed=3)
    assert search(10, seed=3) == once and search(10, seed=4) != once
    for parameters, _ in once:
        assert 1e-5 <= parameters[LR] <= 1e-2 and float(f"{parameters[LR]:.3g}") == parameters[LR]
        assert parameters["finetune.rank"] in range(2, 33)
        assert parameters["loss.class_weights"] in (False, True)
    worst = min(once, key=lambda one: -math.inf if one[1] is None else one[1])
    changed = [(p, 1.0 if p == worst[0] else value) for p, value in once]  # now it is the best
    assert propose(SPACE, changed, 3) != propose(SPACE, once, 3)


def test_what_was_tried_makes_proposals_better_than_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def best(random_trials: int) -> float:
        monkeypatch.setattr("benchmarks.search.RANDOM_TRIALS", random_trials)
        tried = [search(16, seed) for seed in range(0, 12_000, 1000)]
        return float(np.mean([max(v for _, v in one if v is not None) for one in tried]))

    assert best(RANDOM_TRIALS) - best(random_trials=16) > 0.05


# A suite's rows


def test_each_row_gets_as_many_trials_and_its_best_recipe(tmp_path: Path) -> None:
    studies = plan(tmp_path, *ROWS)
    trainer = tune(studies, Trainer())
    assert len(studies) == 2 and len(trainer.trained) == 12
    for study in studies:
        known = study.read()
        assert [trial.validation for trial in known.trials] == pytest.approx(
            [1 - abs(math.log10(trial.parameters[LR] / BEST)) for trial in known.trials]
        )
        assert known.trials[0].parameters == {LR: 1e-3, "optimizer.weight_decay": 0.01}
        best = max(known.trials, key=lambda trial: trial.validation)
        assert best.validation > known.trials[0].validation and known.recipe == best.parameters
    jobs = tuning.tuned(studies)
    assert len({job.folder for job in jobs}) == 4 and {job.seed for job in jobs} == {0, 1}
    assert len({job.recipe for job in jobs}) == 2  # seeds share one
    for job, study in zip(jobs, (s for s in studies for _ in s.jobs), strict=True):
        assert flat(composed(*job.arguments))[LR] == study.read().recipe[LR]
        assert flat(job.config)[LR] == study.read().recipe[LR]
        assert job.folder not in {before.folder for before in study.jobs}


def test_trials_have_a_seed_of_their_own_and_leave_no_run(tmp_path: Path) -> None:
    grid = {"data": [{"dataset": "synth"}], "models": [ROWS[0]], "seeds": [0, tuning.SEED]}
    studies = plan(tmp_path, grids=[grid])
    trainer = tune(studies, Trainer())
    assert {trial.seed for trial in trainer.trained} == {tuning.SEED + 1}
    assert not list(tmp_path.rglob(FILE)) and not list(tmp_path.rglob("*.part"))


def test_the_recipe_stays_where_no_other_is_better(tmp_path: Path) -> None:
    studies = plan(tmp_path, ROWS[0])
    tune(studies, Trainer(lambda job: 0.5))
    assert [job.folder for job in tuning.tuned(studies)] == [job.folder for job in studies[0].jobs]
    assert "as it is" in tuning.said(studies)


def test_how_a_recipe_was_found_is_kept_with_each_run(tmp_path: Path) -> None:
    studies = plan(tmp_path, ROWS[0])
    tune(studies, Trainer())
    tuning.keep(studies)
    for job in tuning.tuned(studies):
        kept = json.loads((job.folder / tuning.FILE).read_text())
        assert len(kept["trials"]) == 6 and kept["recipe"][LR] == flat(job.config)[LR]
        assert kept["trials"][kept["taken"]]["parameters"] == kept["recipe"]
        assert all(trial["seconds"] == 1 for trial in kept["trials"])
        assert job.state == "missing"  # for zoo.train the folder is free


def test_settings_of_trials_are_theirs_alone_and_what_is_typed_goes_before(tmp_path: Path) -> None:
    section = {"trials": 2, "settings": {"epochs": 3, "batch_size": 4}}
    studies = plan(tmp_path, ROWS[0], typed=["batch_size=2"], tune=section)
    trainer = tune(studies, Trainer())
    assert {(t.config["epochs"], t.config["batch_size"]) for t in trainer.trained} == {(3, 2)}
    assert {job.config["epochs"] for job in tuning.tuned(studies)} == {1}


def test_folds_share_one_recipe_found_on_the_first(tmp_path: Path) -> None:
    data = {"dataset": "synth", "dataset.folds": 2}
    studies = plan(tmp_path, grids=[{"data": [data], "models": [ROWS[0]], "folds": [0, 1]}])
    trainer = tune(studies, Trainer())
    assert len(studies) == 1 and {trial.manifest.fold for trial in trainer.trained} == {0}
    assert {job.manifest.fold for job in tuning.tuned(studies)} == {0, 1}


def test_rows_with_nothing_to_tune_take_no_trial(tmp_path: Path) -> None:
    studies = plan(tmp_path, *ROWS, typed=[f"{LR}=0.01", "optimizer.weight_decay=0.1"])
    assert not tune(studies, Trainer()).trained
    assert "nothing to tune" in tuning.said(studies) and "missing" not in tuning.said(studies)
    assert {job.config["optimizer"]["lr"] for job in tuning.tuned(studies)} == {0.01}


# Failures and interruptions


def diverging(job: Job) -> float:
    if job.config["optimizer"]["lr"] > 8e-4:  # the recipe as it is, too
        raise FloatingPointError
    return validation_of(job)


def test_a_failed_trial_is_one_without_a_value(tmp_path: Path) -> None:
    studies = plan(tmp_path, ROWS[0])
    tune(studies, Trainer(diverging))
    known = studies[0].read()
    failed = [trial for trial in known.trials if trial.validation is None]
    assert known.trials[0] in failed and 1 <= len(failed) < 6 == len(known.trials)
    assert failed[0].reason == "training diverged" and known.recipe[LR] < 8e-4
    assert not tune(studies, Trainer()).trained  # nor is it tried again


def test_a_row_whose_trials_all_fail_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    def value(job: Job) -> float:
        if job.config["frontend"]["name"] == "mfcc":
            raise FloatingPointError
        return validation_of(job)

    studies = plan(tmp_path, *ROWS)
    tune(studies, Trainer(value))
    good, bad = studies
    assert bad.read().has_failed and not bad.read().recipe and good.read().recipe
    assert "linear mfcc" in (line := tuning.said(studies).splitlines()[-1])
    assert "all trials failed" in line


def test_a_metric_that_is_no_number_is_no_value(tmp_path: Path) -> None:
    studies = plan(tmp_path, ROWS[0], tune={"trials": 1})
    tune(studies, Trainer(lambda job: math.nan))
    assert studies[0].read().trials[0].validation is None


@pytest.mark.parametrize("after", [1, 2, 5, 6, 11])  # trials of 12, two a round
def test_tuning_that_was_interrupted_ends_the_same(after: int, tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = plan(tmp_path / "whole", *ROWS), plan(tmp_path / "parts", *ROWS)
    expected = tune(whole, Trainer()).trained
    first = Trainer()

    def until(job: Job) -> float:
        if len(first.trained) > after:
            raise KeyboardInterrupt
        return validation_of(job)

    first.value = until
    with pytest.raises(KeyboardInterrupt):
        tune(parts, first)
    assert f"{12 - after // 2 * 2} of 12 trials are missing" in tuning.said(parts)
    rest = tune(plan(tmp_path / "parts", *ROWS), Trainer()).trained
    assert [s.read() for s in parts] == [s.read() for s in whole]
    assert [j.folder.name for j in (*first.trained[:after], *rest)] == [
        job.folder.name for job in expected
    ]


def test_killed_before_its_run_is_deleted_it_is_deleted_later(tmp_path: Path) -> None:
    (study,) = plan(tmp_path, ROWS[0])
    trainer = tune([study], Trainer())
    again = trainer.trained[2]
    trainer.train(again)
    tune([study], trainer)
    assert not again.folder.exists()


def test_more_trials_go_on_from_those_there_are(tmp_path: Path) -> None:
    few = tune(plan(tmp_path, ROWS[0], tune={"trials": 2}), Trainer()).trained
    more = plan(tmp_path, ROWS[0], tune={"trials": 5})
    assert len(few) == 2 and len(tune(more, Trainer()).trained) == 3
    (first,) = plan(tmp_path, ROWS[0], tune={"trials": 2})
    assert first.read().trials == more[0].read().trials[:2] and not first.missing


def test_a_file_of_trials_that_is_none_is_named(tmp_path: Path) -> None:
    (study,) = plan(tmp_path, ROWS[0])
    study.folder.mkdir(parents=True)
    study.file.write_text("{")
    with pytest.raises(InputError, match=r"\.json holds no trials"):
        study.read()


# The command


@pytest.mark.slow
def test_the_command_goes_on_after_it_was_killed(python: Run, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ROWS[0], tune={"trials": 2})
    arguments = [f"suite={suite}", "output_dir=out", "workers=1", "threads=1", *TINY_SYNTH]
    command = [sys.executable, "-m", "benchmarks.tune", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (files := list(tmp_path.glob("out/tuning/*/linear/*.json"))):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (file,) = files
    killed = json.loads(file.read_text())["trials"]
    asked = python("benchmarks.tune", *arguments, "--dry-run", cwd=tmp_path)
    assert f"{2 - len(killed)} of 2 trials are missing" in asked.stdout, asked.stderr
    done = python("benchmarks.tune", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trials = json.loads(file.read_text())["trials"]
    assert trials[: len(killed)] == killed and len(trials) == 2
    (study,) = tuning.plan(*_read(suite, tmp_path / "out"))
    for trial in trials[1:]:  # what an undisturbed search would have come to
        tried = [(t["parameters"], t["validation"]) for t in trials[: trials.index(trial)]]
        assert propose(study.blank.space, tried, int(study.key[:7], 16)) == trial["parameters"]
    assert not list(tmp_path.rglob(FILE))


def _read(suite: Path, folder: Path):
    content = read_suite(str(suite))
    jobs, _ = expand(content, TINY_SYNTH, folder)
    return content.tune, jobs, TINY_SYNTH, folder / tuning.FOLDER


def test_a_suite_that_tunes_nothing_is_refused(python: Run, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ROWS[0], tune=None)
    done = python("benchmarks.tune", f"suite={suite}", *TINY_SYNTH, cwd=tmp_path)
    assert done.returncode == 2 and "tunes nothing" in done.stderr
