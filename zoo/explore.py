"""`python -m zoo.explore dataset=NAME`: a look at a data set before training, as one HTML page.

The page opens from disk, without a network: classes by split, artists, durations, loudness,
clipping, silence, bandwidth, tempo, key, spectra, examples to hear and to see, a map of the tracks,
outliers and likely mislabelled ones, and what the audit finds. Keys are those of zoo.audit
(dataset.path=DIR, split=artist...). With --against RUN it shows how the data set differs from what
a model was trained on.
"""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.config import compose
from zoo.datasets.base import Manifest
from zoo.errors import InputError, guard
from zoo.exploring.answers import answers, opened
from zoo.out import check_out, write_out
from zoo.prepare import build_manifest, load_manifest
from zoo.results import read_result

if TYPE_CHECKING:
    from zoo.exploring.sample import Sample

NEEDED = ("altair", "jinja2", "librosa", "pyloudnorm", "sklearn", "vl_convert")
LEAST_SAMPLE = 2  # tracks


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options, keys = _options(arguments)
    _check_installed()
    config = compose("audit", keys)
    if options.against:  # before hours of measuring
        read_result(options.against)
    if options.model:
        opened(options.model)
    manifest, notes = _load(config)
    write_out(options.out, _page(options, config, manifest, notes).encode("utf-8", "replace"))
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {len(manifest.frame):,} tracks, {size:.1f} MB")


def _page(options: argparse.Namespace, config: Any, manifest: Manifest, notes: list[str]) -> str:
    from zoo.exploring.content import content
    from zoo.exploring.look import listen, look
    from zoo.exploring.page import render
    from zoo.exploring.sample import take

    workers = config.prepare.workers
    sample = take(manifest.frame, options.sample, workers, "measuring")
    if len(sample.failed):
        reason = f"{sample.failed['path'][0]} {sample.failed['reason'][0]}"
        print(f"{len(sample.failed):,} files cannot be used, such as {reason}", file=sys.stderr)
    features_BD = sample.features_BD
    if options.model:
        features_BD = _embeddings(options.model, sample, workers)
    found = look(manifest, sample, features_BD, options.model, notes)
    if options.against:
        from zoo.exploring.against import compare

        most = options.sample
        found.against = compare(options.against, manifest.classes, sample, most, workers)
    listen(found, workers)
    return render(content(found, f"python -m zoo.explore {shlex.join(options.typed)}"))


def _load(config: Any) -> tuple[Manifest, list[str]]:
    """Return the data set in the splits that training would make; as it is where it has none and
    they cannot be made, with the reason."""
    common = config.dataset
    try:
        return load_manifest(config), []
    except InputError as error:
        if config.split or common.held_out or common.share or common.shots or common.folds:
            raise
        manifest = build_manifest(config)
        if (manifest.frame["split"] != "").all():
            raise
        return manifest, [f"Training would refuse it as it is: {error}"]


def _embeddings(model: str, sample: "Sample", workers: int | None) -> np.ndarray:
    """Return the model's embeddings of the tracks; the mean where it cannot hear one."""
    embedding_BD = answers(model, tuple(sample.tracks["path"]), workers).embedding_BD
    return np.where(np.isnan(embedding_BD), np.nanmean(embedding_BD, 0), embedding_BD)


def _check_installed() -> None:
    missing = [module for module in NEEDED if not importlib.util.find_spec(module)]
    if missing:
        raise InputError(
            f"zoo.explore needs {', '.join(missing)}, which is not installed: "
            "pip install 'genre-zoo[explore]'."
        )


def _options(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m zoo.explore",
        usage="%(prog)s dataset=NAME [key=value ...] [options]",
        description=__doc__,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", metavar="MODEL", help="map and hints by its embeddings, not by the sound alone")
    add("--against", type=Path, metavar="RUN", help="show how this differs from its training data")
    add(
        "--sample",
        type=int,
        default=1000,
        metavar="N",
        help="tracks whose audio is measured, at most (default: %(default)s)",
    )
    add("--out", type=Path, metavar="FILE", default=Path("explore.html"), help="the page")
    options, keys = parser.parse_known_args(arguments)
    if options.sample < LEAST_SAMPLE:
        raise InputError(f"--sample {options.sample} must be {LEAST_SAMPLE} or more.")
    check_out(options.out, [".html"])
    options.typed = sys.argv[1:] if arguments is None else list(arguments)
    return options, keys


if __name__ == "__main__":
    guard(main)
