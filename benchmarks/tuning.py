"""Tuning: before the runs of a suite, the recipe of each row is looked for on validation tracks.

A row is a model on a data set, with all its seeds and folds, which share one recipe. Each row gets
the same number of trials. The first is its recipe as it is, which stays unless another trial is
better on validation; `benchmarks.search` proposes the others from what the earlier ones reached.

A trial is a run of zoo.train, on the first fold, with a seed that no run of the suite has: a recipe
that suits the luck of one seed would otherwise be reported with that very luck. Of a trial only the
validation metric is read; then its run is deleted, and with it the test scores, which nobody shall
rank. Where a row has several folds, the validation tracks of the first are test tracks of another:
of these, one choice among so many trials is known beforehand, in all rows alike.

All that is kept is one file a row, written whole after each trial. What is tried next follows from
it alone, so that tuning that was killed goes on, and ends as if it had not been. (Optuna's own
storage keeps no state of the sampler, and a line that a kill has cut in two spoils its journal.)
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError, computed_field
from tabulate import tabulate

from benchmarks.job import Job, identity
from benchmarks.search import Parameters, Space, propose, space_of
from benchmarks.suite import Tuning, as_typed
from benchmarks.tasks import LOCK, Outcome, locked
from zoo.config import assign, parse
from zoo.errors import InputError
from zoo.results import FILE as RESULT
from zoo.results import Strict, flat, read_result

FILE = "tuning.json"
FOLDER = "tuning"  # of output_dir
SEED = 1000  # of the trials; the next one that no run has, if one has it

Runner = Callable[[Sequence[Job]], Sequence[Outcome]]
"""Trains what is not finished of some jobs, on an engine, and says how they ended."""


class Trial(Strict):
    """What was tried, and what came of it."""

    run: str  # the hash of its configuration, and the name of its folder
    parameters: Parameters
    validation: float | None  # the primary metric; None: it failed
    seconds: float
    reason: str = ""  # of a failure: the end of its log


class Record(BaseModel):
    """`tuning.json`: how a row was tuned."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # what is computed is read again
    row: str
    data: str
    seed: int  # of the trials
    settings: dict[str, Any]  # of the trials alone
    space: Space
    trials: list[Trial] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def taken(self) -> int:
        """The number of the best trial, from 0 on: of equals the first."""
        reached = [-math.inf if t.validation is None else t.validation for t in self.trials]
        return reached.index(max(reached)) if reached else 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def recipe(self) -> Parameters:
        """The parameters to set; none where the recipe stays as it is."""
        return self.trials[self.taken].parameters if self.taken else {}

    @property
    def has_failed(self) -> bool:
        """Whether there were trials, and none of them came to a figure."""
        return bool(self.trials) and all(trial.validation is None for trial in self.trials)

    def write(self, file: Path) -> None:
        """Write it whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        part.replace(file)


@dataclass(frozen=True)
class Study:
    """The search for the recipe of a row; all that is known lies in its file."""

    jobs: tuple[Job, ...]  # of the row, with the recipe as it is
    base: Job  # the first trial
    blank: Record  # before it
    num_trials: int

    @property
    def folder(self) -> Path:
        """Where the trials run."""
        return self.base.folder.parent

    @property
    def key(self) -> str:
        """A hash of what the proposals follow from, besides the trials before them."""
        space = self.blank.model_dump_json(include={"space"})
        return hashlib.sha256(f"{self.base.folder.name} {space}".encode()).hexdigest()[:12]

    @property
    def file(self) -> Path:
        return self.folder / f"{self.key}.json"

    def read(self) -> Record:
        """Return what is known. Raises `InputError` for a file that is not ours."""
        if not self.file.exists():
            return self.blank
        try:
            known = Record.model_validate_json(self.file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise InputError(f"{self.file} holds no trials; delete it to begin anew.") from error
        return self.blank.model_copy(update={"trials": known.trials[: self.num_trials]})

    @property
    def missing(self) -> int:
        """The number of trials to come; none where there is nothing to search."""
        return self.num_trials - len(self.read().trials) if self.blank.space else 0

    def next(self) -> tuple[Job, Parameters]:
        """Return the next trial: first the recipe as it is."""
        tried = [(trial.parameters, trial.validation) for trial in self.read().trials]
        own = flat(self.base.config)
        parameters = {key: own[key] for key in self.blank.space}
        if tried:
            parameters = propose(self.blank.space, tried, int(self.key[:7], 16))
        number = f"trial {len(tried) + 1}/{self.num_trials}"
        job = changed(self.base, parameters)
        return replace(job, row=f"{job.row}, {number}"), parameters

    def note(self, trial: Trial) -> None:
        """Write down one more trial."""
        known = self.read()
        known.model_copy(update={"trials": [*known.trials, trial]}).write(self.file)

    def forget_runs(self) -> None:
        """Delete the finished runs of the trials that are known; failed ones have only logs."""
        for trial in self.read().trials:
            if (self.folder / trial.run / RESULT).exists():
                shutil.rmtree(self.folder / trial.run)


def changed(job: Job, values: Mapping[str, Any]) -> Job:
    """Return a job with other values of zoo.train's keys. Raises `InputError` for none of them."""
    typed = as_typed(values)
    config = assign(job.config, typed)
    content: Any = OmegaConf.to_container(config)
    folder = job.folder.with_name(identity(config, job.manifest))
    arguments = (*job.arguments, *typed)
    return replace(job, seed=config.seed, arguments=arguments, config=content, folder=folder)


def plan(tuning: Tuning, jobs: Sequence[Job], typed: Sequence[str], folder: Path) -> list[Study]:
    """Return a study for each row of jobs; its trials lie below `folder`.

    `typed` are arguments of every run, which go before what the suite says of trials. Raises
    `InputError` for settings that no trial can take.
    """
    rows: dict[str, list[Job]] = {}
    for job in jobs:
        rows.setdefault(job.recipe, []).append(job)
    seed = next(s for s in count(SEED) if s not in {job.seed for job in jobs})
    keys = {parse(argument).key for argument in typed}
    settings = {key: value for key, value in tuning.settings.items() if key not in keys}
    return [_study(row, tuning.trials, settings, seed, folder) for row in rows.values()]


def _study(
    jobs: Sequence[Job], num_trials: int, settings: dict[str, Any], seed: int, folder: Path
) -> Study:
    job = jobs[0]
    given = [*settings, *(parse(argument).key for argument in job.arguments)]
    place = folder / job.manifest.name / job.folder.parent.name / job.folder.name
    base = changed(replace(job, folder=place), {**settings, "seed": seed})
    space = space_of(base.config, given)
    data = f"{job.manifest.name} ({job.split})"
    blank = Record(row=job.row, data=data, seed=seed, settings=settings, space=space)
    return Study(tuple(jobs), base, blank, num_trials)


def tune(studies: Sequence[Study], folder: Path, run: Runner) -> None:
    """Run what trials are missing, one of each row at a time; wait while another process tunes in
    the folder.

    Interrupted, it goes on where it was when it is called again. Raises `InputError` where Optuna
    is not installed.
    """
    for study in studies:
        study.forget_runs()
    if not any(study.missing for study in studies):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):
        while waiting := {study.file: study for study in studies if study.missing}.values():
            trials = [(study, *study.next()) for study in waiting]
            outcomes = run([job for _, job, _ in trials])
            failed = {outcome.task.folder: outcome for outcome in outcomes if outcome.failed}
            for study, job, parameters in trials:
                study.note(_trial(job, parameters, failed.get(job.folder)))
            for study in waiting:
                study.forget_runs()


def _trial(job: Job, parameters: Parameters, failure: Outcome | None) -> Trial:
    value, seconds, reason = None, 0.0, ""
    if failure is not None:
        seconds, reason = failure.seconds, failure.reason
    else:
        try:
            result = read_result(job.folder)
            value, seconds = result.metrics["validation"][result.primary], result.costs.wall_seconds
        except InputError as error:  # such as metrics that are no numbers
            reason = str(error)
    run = job.folder.name
    return Trial(run=run, parameters=parameters, validation=value, seconds=seconds, reason=reason)


def tuned(studies: Sequence[Study]) -> list[Job]:
    """Return the runs of all rows, with the best recipes that are known."""
    return [job for study in studies for job in _tuned(study)]


def _tuned(study: Study) -> Iterator[Job]:
    recipe = study.read().recipe
    yield from (changed(job, recipe) for job in study.jobs)


def keep(studies: Sequence[Study]) -> None:
    """Write into the folder of each run how its recipe was found."""
    for study in studies:
        for job in _tuned(study):
            study.read().write(job.folder / FILE)


def said(studies: Sequence[Study]) -> str:
    """Return for people to read which recipes were found, and how many trials are missing."""
    head = ("row", "data", "trials", "validation", "tuned", "recipe")
    rows = tabulate(map(_line, studies), head, "simple", floatfmt=".3f", missingval="-")
    missing, total = sum(s.missing for s in studies), sum(s.num_trials for s in studies)
    return f"{rows}\n{missing} of {total} trials are missing" if missing else rows


def _line(study: Study) -> tuple[object, ...]:
    known = study.read()
    recipe = " ".join(as_typed(known.recipe))
    if not study.blank.space:
        recipe = "as it is: there is nothing to tune"
    elif known.has_failed:
        recipe = f"as it is: all trials failed, see {study.file}"
    before, best = (known.trials[i].validation if known.trials else None for i in (0, known.taken))
    return known.row, known.data, len(known.trials), before, best, recipe or "as it is"
