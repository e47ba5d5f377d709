"""`python -m benchmarks.overhead [key=value ...]`: what the harness takes beyond bare training.

Trains the same runs (of `linear`, or the model typed) by bare commands, one after the other, and as
a suite by the harness with one worker, in turn, each anew. Prints the ratio of the wall times, and
exits with 1 where the harness takes more than 2 %. Choose `epochs` so that a run takes a minute.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import yaml

from benchmarks.timing import Ratio, seconds

SEEDS, ROUNDS = (0, 1, 2), 2
MOST = 1.02  # times the bare commands


def bare(folder: Path, arguments: Sequence[str]) -> None:
    """Train all seeds by commands of their own."""
    for seed in SEEDS:
        place = (f"seed={seed}", f"output_dir={folder / str(seed)}")
        call("zoo.train", *arguments, "threads=1", *place)


def harness(folder: Path, arguments: Sequence[str]) -> None:
    """Train all seeds as a suite."""
    models = [{"model": "linear"}]
    grid = {"data": [{"dataset": "synth"}], "models": models, "seeds": [*SEEDS]}
    suite = folder.with_suffix(".yaml")
    suite.write_text(yaml.safe_dump({"about": "Overhead", "grids": [grid]}))
    settings = (f"suite={suite}", f"output_dir={folder}", "workers=1", "threads=1")
    call("benchmarks", *settings, *arguments)


def call(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run the command."""
    arguments = sys.argv[1:] or ["model=linear", "epochs=40"]
    with tempfile.TemporaryDirectory() as place:
        call("zoo.prepare", *arguments)
        rounds = [
            [
                seconds(partial(way, Path(place) / f"{way.__name__}{number}", arguments))
                for way in (bare, harness)
            ]
            for number in range(ROUNDS)
        ]
    ratio = Ratio(tuple(harness / bare for bare, harness in rounds))
    runs = sum(bare for bare, _ in rounds) / ROUNDS / len(SEEDS)
    print(f"harness / bare commands, {len(SEEDS)} runs of {runs:.0f} s: {ratio} (asked <= {MOST})")
    sys.exit(ratio.median > MOST)


if __name__ == "__main__":
    main()
