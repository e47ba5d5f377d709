"""`python -m benchmarks.budget [MODEL ...]`: what each model reaches on `synth` in three minutes.

Trains every model (but those that only a checkpoint makes useful) from scratch with the default
recipe, on `synth` with one track of each genre by each artist, for as many epochs as fit into
--minutes on this machine, and prints the leaderboard. A step of each is timed before the first
trains, so that an idle machine is needed only for that. Runs that are in --runs already are not
repeated.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.speed_models import BATCH, ours
from benchmarks.speed_training import device
from benchmarks.timing import in_turn
from leaderboard.__main__ import show
from zoo import create_model, list_models, runtime
from zoo.datasets.synth import GENRES, artist_splits
from zoo.registry import target

ARTISTS, SECONDS = 64, 10.0
SHARE = 0.9  # of the time is for steps and scoring; the rest for what neither is


def epochs_in(minutes: float, name: str) -> int:
    """Return how many epochs of training and validation fit, at least one."""
    tracks = Counter(artist_splits(ARTISTS).values())
    train, validation = tracks["train"] * len(GENRES), tracks["validation"] * len(GENRES)
    model = create_model(name)
    chunks = -(-SECONDS // max(model.config.clip_seconds, model.min_samples / model.sample_rate))
    step, scoring = in_turn(*ours(name), rounds=1)[0]
    epoch = step * train / BATCH + scoring * validation * chunks / BATCH
    return max(1, int(60 * minutes * SHARE / epoch))


def run(name: str, epochs: int, folder: Path) -> None:
    """Train a model in a process of its own."""
    data = (f"dataset.artists={ARTISTS}", "dataset.tracks=1", f"dataset.seconds={SECONDS:g}")
    length = (f"epochs={epochs}", f"batch_size={BATCH}")
    command = [sys.executable, "-m", "zoo.train", f"model={name}", "dataset=synth", *data, *length]
    part = folder.with_name(f"{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    subprocess.run([*command, f"output_dir={part}"], check=True)
    part.rename(folder)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of `python -m zoo.models`")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training (default 3)")
    parser.add_argument("--runs", type=Path, default=Path("runs/budget"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the leaderboard there")
    options = parser.parse_args()
    if unknown := set(options.models) - set(list_models()):
        parser.error(f"{min(unknown)!r} is none of {', '.join(list_models())}")
    runtime.keep_freed_memory()
    threads = runtime.set_threads(None)
    print(f"{runtime.device_name(device())}, {threads} threads of {os.cpu_count()} cores")
    from_scratch = [m for m in list_models() if not hasattr(target("model", m), "settings")]
    names = options.models or from_scratch
    missing = [name for name in names if not (options.runs / name / "result.json").exists()]
    epochs = {name: epochs_in(options.minutes, name) for name in missing}
    print("epochs that fit:", ", ".join(f"{name} {number}" for name, number in epochs.items()))
    for name, number in epochs.items():
        run(name, number, options.runs / name)
    show([options.runs], options.out)


if __name__ == "__main__":
    main()
