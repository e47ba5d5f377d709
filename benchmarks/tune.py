"""`python -m benchmarks.tune suite=NAME`: look for the recipes of a suite's rows, and print them.

usage: python -m benchmarks.tune [suite=NAME] [engine=local|ray] [workers=N] [threads=N]
                                 [output_dir=DIR] [checkpoints=DIR] [--dry-run] [key=value ...]

The suite says how many trials there are (`tune: {trials: 8}`), configs/tune.yaml what is tried.
`python -m benchmarks` with the same arguments then takes the recipes that were found, or looks for
them first. --dry-run says how many trials are missing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import engines, tuning
from benchmarks.__main__ import read_command, run_all, training
from benchmarks.job import Job
from benchmarks.suite import expand, read_suite
from benchmarks.tasks import Outcome
from zoo.errors import InputError, guard
from zoo.signals import exiting


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code: 1 where a row has no trial that did not fail."""
    command = read_command(arguments)
    settings = command.settings
    suite = read_suite(settings.suite)
    if suite.tune is None:
        raise InputError(
            f"suite={settings.suite} tunes nothing; add `tune: {{trials: 8}}` to its file."
        )
    output = Path(settings.output_dir)
    checkpoints = None if settings.checkpoints is None else Path(settings.checkpoints)
    jobs, absent = expand(suite, command.passed, output, checkpoints)
    if absent and not jobs:
        raise InputError(f"suite={settings.suite}: {absent[0].reason}")
    folder = output / tuning.FOLDER
    studies = tuning.plan(suite.tune, jobs, command.passed, folder)
    if command.is_dry:
        missing, total = (sum(s.missing for s in studies), len(studies) * suite.tune.trials)
        print(f"{missing} of {total} trials are missing")
    else:
        shares = engines.share_out(len(studies), settings.workers, settings.threads)

        def run(jobs: Sequence[Job]) -> Sequence[Outcome]:
            return run_all([training(job, shares.threads) for job in jobs], settings, shares)

        with exiting():
            tuning.tune(studies, folder, run)
    print(tuning.table(studies))
    return int(any(study.read().has_failed for study in studies))


if __name__ == "__main__":
    guard(lambda: sys.exit(main(sys.argv[1:])))
