"""`python -m benchmarks suite=NAME`: train, measure and compare what a suite names.

usage: python -m benchmarks [suite=NAME] [engine=local|ray] [workers=N] [threads=N]
                            [output_dir=DIR] [checkpoints=DIR] [--dry-run] [key=value ...]

Finished runs are skipped, interrupted ones go on, failed ones are named while the others go on.
What else is typed goes to each run of zoo.train: `dataset=folder dataset.path=DIR` compares the
suite's models on your own music, `epochs=2` trains them all for that long. --dry-run says what is
missing, and about how long that takes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from benchmarks import engines
from benchmarks.job import Job
from benchmarks.suite import Absent, Suite, expand, read_suite
from benchmarks.tasks import Outcome, Task
from zoo.config import assign, parse
from zoo.errors import InputError, check_choice, guard
from zoo.registry import choices, configs_dir
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
    check_choice("engine", settings.engine, engines.ENGINES)
    passed = [a for a in typed if a not in ours]
    if settings.threads is not None:
        passed.append(f"threads={settings.threads}")
    return Command(settings, tuple(passed), "--dry-run" in arguments)


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
    extra = () if any(a.startswith("threads=") for a in job.arguments) else (f"threads={threads}",)
    place = (f"output_dir={job.folder}", "resume=true")
    command = ("zoo.train", *job.arguments, *extra, *place)
    return Task(job.name, command, job.folder, (job.folder / FILE,))


def run_all(tasks: Sequence[Task], settings: Any, shares: engines.Shares) -> list[Outcome]:
    """Run tasks on the engine that was asked for."""
    tell = Teller(len(tasks))
    if settings.engine == "ray":
        return engines.run_ray(tasks, shares.threads, tell)
    return engines.run_local(tasks, shares, tell)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    command = read_command(arguments)
    settings = command.settings
    suite = read_suite(settings.suite)
    checkpoints = None if settings.checkpoints is None else Path(settings.checkpoints)
    jobs, absent = expand(suite, command.passed, Path(settings.output_dir), checkpoints)
    if absent and not jobs:
        raise InputError(f"suite={settings.suite}: {absent[0].reason}")
    missing = [job for job in jobs if job.state != "finished"]
    shares = engines.share_out(len(missing), settings.workers, settings.threads)
    with exiting():
        outcomes = run_all([training(job, shares.threads) for job in missing], settings, shares)
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    guard(lambda: sys.exit(main(sys.argv[1:])))
