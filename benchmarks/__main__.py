"""`python -m benchmarks suite=NAME`: train, measure and compare what a suite names.

usage: python -m benchmarks [suite=NAME] [engine=local|ray] [workers=N] [threads=N]
                            [output_dir=DIR] [checkpoints=DIR] [--dry-run] [key=value ...]

Finished runs are skipped, interrupted ones go on, failed ones are named while the others go on.
What else is typed goes to each run of zoo.train: `dataset=folder dataset.path=DIR` compares the
suite's models on your own music, `epochs=2` trains them all for that long. --dry-run says what is
missing, and about how long that takes.
"""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from benchmarks import engines, estimate, report, tuning
from benchmarks.job import Job
from benchmarks.measure import ALONE, COMPUTED, applies, file_of
from benchmarks.suite import Absent, Suite, expand, read_suite
from benchmarks.tasks import Outcome, Task
from zoo.config import assign, parse
from zoo.errors import InputError, check_choice, guard, nearest
from zoo.pooling import pool
from zoo.registry import configs_dir, groups
from zoo.results import FILE
from zoo.signals import exiting


class Command(NamedTuple):
    """What was typed: the harness's own settings, and arguments for every run."""

    settings: Any
    passed: tuple[str, ...]
    is_dry: bool


def read_command(arguments: Sequence[str]) -> Command:
    """Sort out what was typed. Raises `InputError` for a value that a setting cannot take."""
    defaults: Any = OmegaConf.to_container(OmegaConf.load(configs_dir() / "benchmarks.yaml"))
    typed = [a for a in arguments if a != "--dry-run"]
    ours = [a for a in typed if parse(a).key in defaults]
    settings = assign(defaults, ours)
    of_runs = {*OmegaConf.load(configs_dir() / "train.yaml"), *groups()}
    for key in (parse(a).key for a in typed if a not in ours):
        if key not in of_runs and difflib.get_close_matches(key, defaults, cutoff=0.75):
            raise InputError(f"{key} is unknown; {nearest(key, {*defaults, *map(str, of_runs)})}")
    check_choice("engine", settings.engine, engines.ENGINES)
    passed = [a for a in typed if a not in ours]
    if settings.threads is not None:
        passed.append(f"threads={settings.threads}")
    return Command(settings, tuple(passed), "--dry-run" in arguments)


def expanded(command: Command) -> tuple[Suite, list[Job], list[Absent]]:
    """Return the suite, its runs and what cannot be run. Raises `InputError` where that is all."""
    settings = command.settings
    suite, output = read_suite(settings.suite), Path(settings.output_dir)
    checkpoints = None if settings.checkpoints is None else Path(settings.checkpoints)
    jobs, absent = expand(suite, command.passed, output, checkpoints, remote=not command.is_dry)
    if not jobs:
        raise InputError(f"suite={settings.suite}: {absent[0].reason}")
    return suite, jobs, absent


class Teller:
    """Prints a line for each task that has ended."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def __call__(self, outcome: Outcome) -> None:
        self.done += 1
        how = f"failed (exit code {outcome.code})" if outcome.failed else "done"
        name = f"[{self.done}/{self.total}] {outcome.task.name}"
        print(f"{name}: {how} in {outcome.seconds:.0f} s", flush=True)
        if outcome.failed:
            print("\n".join(f"    {line}" for line in outcome.reason.splitlines()), flush=True)


def training(job: Job, threads: int) -> Task:
    """Return the task that trains a run."""
    extra = () if job.config["threads"] else (f"threads={threads}",)
    place = (f"output_dir={job.folder}", "resume=true")
    command = ("zoo.train", *job.arguments, *extra, *place)
    return Task(job.name, command, job.folder, (job.folder / FILE,))


def measuring(job: Job, names: Sequence[str]) -> Task:
    """Return the task that measures a finished run further."""
    names = [name for name in names if applies(name, job.config)]
    files = tuple(file_of(job.folder, name) for name in names)
    command = ("benchmarks.measure", str(job.folder), *names)
    return Task(f"{', '.join(names)} of {job.name}", command, job.folder, files)


def run_all(tasks: Sequence[Task], settings: Any, alone: bool = False) -> list[Outcome]:
    """Run what is not done yet on the engine that was asked for; `alone`, one task after the other
    with a machine to itself."""
    tasks = [task for task in tasks if not task.done]
    if not tasks:
        return []
    tell, shares = Teller(len(tasks)), shared_out(tasks, settings)
    if settings.engine == "ray":
        return engines.run_ray(tasks, None if alone else shares.threads, tell)
    return engines.run_local(tasks, replace(shares, workers=1) if alone else shares, tell)


def shared_out(tasks: Sequence[Any], settings: Any) -> engines.Shares:
    """Return how this machine is shared out between so many tasks."""
    return engines.share_out(len(tasks), settings.workers, settings.threads)


def tune(suite: Suite, jobs: Sequence[Job], command: Command) -> list[tuning.Study]:
    """Look for the recipes of the rows, where the suite asks for it, and print them; --dry-run
    prints those that are known."""
    if suite.tune is None:
        return []
    folder = Path(command.settings.output_dir) / tuning.FOLDER
    studies = tuning.plan(suite.tune, jobs, command.passed, folder)

    def run(trials: Sequence[Job]) -> Sequence[Outcome]:
        threads = shared_out(trials, command.settings).threads
        return run_all([training(trial, threads) for trial in trials], command.settings)

    if not command.is_dry:
        with exiting():
            tuning.tune(studies, folder, run)
    print(tuning.said(studies))
    return studies


def measure_all(jobs: Sequence[Job], names: Sequence[str], settings: Any) -> list[Outcome]:
    """Measure the finished runs; what they cost last, of one run for each recipe."""
    finished = sorted((j for j in jobs if j.state == "finished"), key=lambda job: job.seed)
    shared = [name for name in names if name not in (ALONE, *COMPUTED)]
    tasks = [measuring(job, shared) for job in finished]
    outcomes = run_all([task for task in tasks if task.files], settings)
    if ALONE in names:
        first = {job.recipe: job for job in reversed(finished)}
        costs = [measuring(job, [ALONE]) for job in first.values()]
        outcomes += run_all(costs, settings, alone=True)
    return outcomes


def plan(jobs: Sequence[Job], absent: Sequence[Absent], settings: Any) -> str:
    """Return which runs there are, in what state, and how long the missing ones take."""
    lines = [f"{len(jobs)} runs in {settings.output_dir}:"]
    lines += [f"  {job.state:12s} {job.name}" for job in jobs]
    lines += [f"  {'not at hand':12s} {one.row} on {one.data}: {one.reason}" for one in absent]
    missing = [job for job in jobs if job.state != "finished"]
    if not missing:
        return "\n".join([*lines, "nothing is missing"])
    shares = shared_out(missing, settings)
    total = estimate.seconds(missing, Path(settings.output_dir), shares.threads)
    return "\n".join(
        [
            *lines,
            f"{len(missing)} runs are missing: about {duration(total)} one after the other, "
            f"{duration(total / shares.workers)} by {shares.workers} at a time with "
            f"{shares.threads} thread{'s' * (shares.threads > 1)} each, measuring not counted",
        ]
    )


def duration(seconds: float) -> str:
    """Return a time as it is said."""
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(1, round(minutes))} min"


def conclude(jobs: Sequence[Job], suite: Suite, settings: Any) -> None:
    """Print and write what the finished runs of a suite show."""
    names = {job.folder: job.row for job in jobs if job.state == "finished"}
    pooled = pool(names, report=lambda line: print(line, file=sys.stderr))
    if pooled:
        out = Path(settings.output_dir) / Path(settings.suite).stem
        print(f"\n{report.write(pooled, names, suite, out)}\nwrote {out}.md and {out}.csv")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code: 1 where anything failed or is not at hand."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    command = read_command(arguments)
    settings = command.settings
    suite, jobs, absent = expanded(command)
    if command.is_dry:
        jobs = tuning.tuned(tune(suite, jobs, command)) or jobs
        print(plan(jobs, absent, settings))
        return 0
    for one in absent:
        print(f"not at hand: {one.row} on {one.data}: {one.reason}", file=sys.stderr)
    studies = tune(suite, jobs, command)
    tuning.keep(studies)
    jobs = tuning.tuned(studies) or jobs
    missing = [job for job in jobs if job.state != "finished"]
    with exiting():
        threads = shared_out(missing, settings).threads
        outcomes = run_all([training(job, threads) for job in missing], settings)
        outcomes += measure_all(jobs, suite.measures, settings)
    conclude(jobs, suite, settings)
    return int(bool(absent) or any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    guard(lambda: sys.exit(main(sys.argv[1:])))
