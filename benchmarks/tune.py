"""`python -m benchmarks.tune suite=NAME`: look for the recipes of a suite's rows, and print them.

usage: python -m benchmarks.tune [suite=NAME] [engine=local|ray] [workers=N] [threads=N]
                                 [output_dir=DIR] [checkpoints=DIR] [--dry-run] [key=value ...]

The suite says how many trials each row gets (`tune: {trials: 8}`), configs/tune.yaml what is tried.
`python -m benchmarks` with the same arguments takes the recipes found here, or looks for them
itself first. --dry-run says what is known, and how many trials are missing.
"""

import sys
from collections.abc import Sequence

from benchmarks.__main__ import expanded, read_command, tune
from zoo.errors import InputError, guard


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code: 1 where all trials of a row failed."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    command = read_command(arguments)
    suite, jobs, _ = expanded(command)
    if suite.tune is None:
        name = command.settings.suite
        raise InputError(f"suite={name} tunes nothing; say `tune: {{trials: 8}}` in its file.")
    return int(any(study.read().has_failed for study in tune(suite, jobs, command)))


if __name__ == "__main__":
    guard(lambda: sys.exit(main(sys.argv[1:])))
