"""`python -m benchmarks.overhead [key=value ...]`: what the harness takes beyond bare training.

Trains the same runs (of `linear`, or the model typed) by bare commands, one after the other, and as
a suite by the harness with one worker, each anew. Machines are noisier than 2 %, so the ratio of
the two is printed but proves nothing; what counts is the time in which the harness does not wait
for a run: its start, planning, reading of results and report, measured in the same suite. Exits
with 1 where that is more than 2 % of the bare commands. Choose `epochs` for runs of a minute.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from benchmarks import __main__ as harness
from benchmarks import engines
from benchmarks.timing import seconds

SEEDS = (0, 1, 2)
MOST = 0.02  # of the bare commands


def bare(folder: Path, arguments: Sequence[str]) -> None:
    """Train all seeds by commands of their own."""
    for seed in SEEDS:
        place = (f"seed={seed}", f"output_dir={folder / str(seed)}")
        call("zoo.train", *arguments, "threads=1", *place)


def call(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)


def in_suite(folder: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Train all seeds as a suite; return the seconds in all, and those of waiting for the runs."""
    models = [{"model": "linear"}]
    grid = {"data": [{"dataset": "synth"}], "models": models, "seeds": [*SEEDS]}
    suite = folder.with_suffix(".yaml")
    suite.write_text(yaml.safe_dump({"about": "Overhead", "grids": [grid]}))
    settings = (f"suite={suite}", f"output_dir={folder}", "workers=1", "threads=1")
    run_local, waited = engines.run_local, 0.0

    def watched(*given: Any) -> list[engines.Outcome]:
        nonlocal waited
        outcomes = run_local(*given)
        waited += sum(outcome.seconds for outcome in outcomes)
        return outcomes

    with patch.object(engines, "run_local", watched):
        total = seconds(partial(suite_of, [*settings, *arguments]))
    return total, waited


def suite_of(arguments: Sequence[str]) -> None:
    assert harness.main(arguments) == 0, "a run failed"


def main() -> None:
    """Run the command."""
    arguments = sys.argv[1:] or ["model=linear", "epochs=40"]
    with tempfile.TemporaryDirectory() as place:
        call("zoo.prepare", *arguments)
        alone = seconds(partial(bare, Path(place) / "bare", arguments))
        total, waited = in_suite(Path(place) / "suite", arguments)
    start = seconds(partial(call, "benchmarks", "--help"))
    own = start + total - waited
    print(
        f"{len(SEEDS)} runs of {alone / len(SEEDS):.0f} s: by the harness {start + total:.1f} s, "
        f"by bare commands {alone:.1f} s, ratio {(start + total) / alone:.3f}\n"
        f"of its own the harness took {own:.2f} s, {own / alone:.2%} of the bare commands "
        f"(asked <= {MOST:.0%})"
    )
    sys.exit(own > MOST * alone)


if __name__ == "__main__":
    main()
