"""`python -m leaderboard verify RUN ...`: score a submitted run's weights again before it ranks."""

from pathlib import Path

import numpy as np

from leaderboard.kept import RESULTS, VERIFIED, Verified, sha256
from leaderboard.submit import folder_of
from zoo.errors import InputError
from zoo.pooling import checked_run
from zoo.results import SCORES, read_scores

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
    difference = _largest_difference(run, kept, data)
    if not difference <= TOLERANCE[result.precision]:
        raise InputError(
            f"{run}: its weights give other scores than {kept / SCORES['test']}: probabilities "
            f"differ by up to {difference:.4f}, and {TOLERANCE[result.precision]:g} is allowed."
        )
    from zoo import runtime

    verified = Verified(
        scores=sha256(kept / SCORES["test"]),
        weights=sha256(*weights),
        largest_difference=float(f"{difference:.2g}"),
        processor=runtime.processor(),
        versions=runtime.versions(),
    )
    (kept / VERIFIED).write_text(verified.model_dump_json(indent=2) + "\n", "utf-8")
    return verified


def _largest_difference(run: Path, kept: Path, data: Path | None) -> float:
    """Return by how much the probabilities that the weights give differ from the kept ones."""
    from benchmarks.opened import open_run
    from benchmarks.scoring import scores

    opened = open_run(run, [] if data is None else [f"dataset.path={data}"])
    tracks, expected_BK = read_scores(kept / SCORES["test"], opened.result.protocol.classes)
    table = scores(opened, opened.data, opened.data.rows("test")).set_index("track")
    missing = [track for track in tracks["track"] if track not in table.index]
    if missing:
        raise InputError(
            f"{run}: {len(missing)} test tracks are not at hand, such as {missing[0]}."
        )
    return float(np.abs(table.loc[tracks["track"]].to_numpy() - expected_BK).max())
