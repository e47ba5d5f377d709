"""`python -m leaderboard verify RUN ...`: score a submitted run's weights again before it ranks."""

from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.kept import VERIFIED, Verified
from leaderboard.protocols import RESULTS, folder_of, sha256
from zoo.errors import InputError
from zoo.pooling import checked_run
from zoo.results import SCORES, Result, read_result, read_scores

TOLERANCE = {"fp32": 1e-3, "bf16": 0.02, "fp16": 0.02}  # between probabilities, by precision


def verify(run: Path, data: Path | None = None, results: Path = RESULTS) -> Verified:
    """Score the test tracks again with the weights in `run`, a run's folder or a copy of it, and
    note in its kept result that they gave the kept scores. `data` is where the data set lies here.

    Raises `InputError` for weights that give other scores, and for a run that was not submitted.
    """
    result = checked_run(run).result
    kept = folder_of(result, results)
    if not kept.exists():
        raise InputError(f"{run} is not among the results in {results}; submit it first.")
    weights = sorted((run / "model").glob("*.safetensors"))
    if not weights:
        raise InputError(f"{run / 'model'} has no weights; verify a run with its folder `model`.")
    difference = _largest_difference(run, kept, read_result(kept), data)
    allowed = TOLERANCE.get(result.precision, min(TOLERANCE.values()))
    if not difference <= allowed:
        raise InputError(
            f"{run}: its weights give other scores than {kept / SCORES['test']}: probabilities "
            f"differ by up to {difference:.4f}, and {allowed:g} is allowed."
        )
    from zoo import runtime

    verified = Verified(
        scores=sha256(kept / SCORES["test"]),
        weights=sha256(*weights),
        largest_difference=float(f"{difference:.2g}"),
        processor=runtime.processor(),
        versions=runtime.versions(),
    )
    try:
        (kept / VERIFIED).write_text(verified.model_dump_json(indent=2) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"{kept} cannot be written to: {error.strerror or error}.") from error
    return verified


def _largest_difference(run: Path, kept: Path, result: Result, data: Path | None) -> float:
    """Return by how much the probabilities that the weights give differ from the kept ones."""
    from benchmarks.scoring import scores
    from zoo.opened import open_run

    opened = open_run(run, [] if data is None else [f"dataset.path={data}"])
    _check_size(run, opened.model, result)
    tracks, expected_BK = read_scores(kept / SCORES["test"], result.protocol.classes)
    identity, test = [*tracks.columns], opened.data.manifest.split("test").frame
    there = test.set_index("track", drop=False)[identity].fillna("").astype(str)
    missing = [track for track in tracks["track"] if track not in there.index]
    if missing:
        raise InputError(f"{run}: test tracks are not at hand, such as {missing[0]}.")
    if (
        not there.loc[tracks["track"]].to_numpy().tolist()
        == tracks.fillna("").to_numpy(str).tolist()
    ):
        raise InputError(f"{kept / SCORES['test']} names other labels, artists or groups.")
    table = scores(opened, opened.data, opened.data.rows("test")).set_index("track")
    return float(np.abs(table.loc[tracks["track"]].to_numpy() - expected_BK).max())


def _check_size(run: Path, model: Any, result: Result) -> None:
    """Raise `InputError` where the model has not as many parameters as the result says; adapters
    are counted while they are apart from their base."""
    size = sum(p.numel() for p in model.parameters())
    if model.config.adapter is None and size != result.costs.parameters:
        raise InputError(
            f"{run}: its model has {size:,} parameters, but its result says "
            f"{result.costs.parameters:,}."
        )
