"""The results that are kept: each is read and checked; what is wrong is refused, with its reason.

A folder of results with a `protocols.yaml` is a public leaderboard: it takes results of the
protocols named there, and ranks those whose weights gave their scores again (`verified.json`). In
one without, such as your own `runs`, every protocol is taken and every run ranks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import ValidationError

from benchmarks.measure import read
from leaderboard.protocols import (
    PROTOCOLS,
    RESULTS,
    folder_of,
    protocol_id,
    read_protocols,
    run_id,
    sha256,
)
from zoo.errors import InputError
from zoo.pooling import Run, checked_run
from zoo.results import FILE, SCORES, Strict, read_scores

VERIFIED = "verified.json"
LOG = "log.csv"


class Refused(NamedTuple):
    """A folder that is no part of the leaderboard, and why."""

    folder: Path
    reason: str


class Verified(Strict):
    """What `verified.json` holds: these weights gave these scores again."""

    scores: str  # SHA-256 of scores.parquet
    weights: str  # SHA-256 of the model's files
    largest_difference: float  # between a probability and the one computed again
    processor: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Kept:
    """What a folder of results holds."""

    runs: tuple[Run, ...]
    ranked: frozenset[Path]  # folders of the runs that may rank
    refused: tuple[Refused, ...]


def read_kept(results: Path = RESULTS) -> Kept:
    """Read and check all results below a folder. Raises `InputError` where there is
    no folder, or its protocols.yaml is damaged."""
    if not results.is_dir():
        raise InputError(f"{results} is no folder; give one of results, such as runs.")
    known = read_protocols(results)
    runs: list[Run] = []
    ranked, refused = set(), []
    first: dict[str, Run] = {}  # by protocol, and by protocol, recipe and seed
    for folder in _folders(results):
        try:
            run = _accepted(folder, known)
            protocol, name = protocol_id(run.result.protocol), run_id(run.result)
            _check_tracks(run, first.get(protocol, run))
            may_rank = known is None or _is_verified(folder)
            if known is not None and (same := first.get(name)):
                raise InputError(f"{folder} is of the protocol, recipe and seed of {same.folder}.")
        except ValueError as error:
            refused.append(Refused(folder, str(error)))
            continue
        first = {protocol: run, name: run, **first}
        runs.append(run)
        if may_rank:
            ranked.add(folder)
    return Kept(tuple(runs), frozenset(ranked), tuple(refused))


def _folders(results: Path) -> list[Path]:
    """Return the folders that hold a result, or a part of one: the verified first, by which others
    are judged, then oldest first."""
    files = {f.parent: f for name in (SCORES["test"], FILE) for f in results.rglob(name)}
    found = [folder for folder in files if folder.suffix != ".part"]

    def order(folder: Path) -> tuple[bool, float, Path]:
        return not (folder / VERIFIED).exists(), files[folder].stat().st_mtime, folder

    return sorted(found, key=order)


def _accepted(folder: Path, known: dict[str, str] | None) -> Run:
    run = checked_run(folder)
    result, protocol = run.result, run.result.protocol
    if known is not None and protocol_id(protocol) not in known:
        raise InputError(
            f"{folder / FILE} is of an unknown protocol: {protocol.dataset}, split "
            f"{protocol.split}, test tracks {protocol.test_fingerprint}; {PROTOCOLS} has "
            f"{', '.join(sorted(set(known.values())))}. `submit --new-protocol` adds one."
        )
    if known is not None:
        folder_of(result, folder)
    for section in ("dataset", "model"):
        if not isinstance(result.config.get(section), Mapping):
            raise InputError(f"{folder / FILE} has no section {section!r} in its config.")
    if result.config.get("seed") != result.seed:
        raise InputError(f"{folder / FILE} says seed {result.seed}, but its config another.")
    read_log(folder)
    for file in (folder / "measures").glob("*.parquet"):
        read(folder, file.stem)
    return run


def _check_tracks(run: Run, first: Run) -> None:
    """Raise `InputError` where two runs of a protocol do not have the same artists and groups of
    the same tracks, from which independent units follow."""
    classes = run.result.protocol.classes
    mine, theirs = (
        read_scores(one.folder / SCORES["test"], classes)[0].fillna("").sort_values("track")
        for one in (run, first)
    )
    if mine.to_numpy(str).tolist() != theirs.to_numpy(str).tolist():
        raise InputError(
            f"{run.folder / SCORES['test']} names other artists or groups than {first.folder}."
        )


def read_log(folder: Path) -> pd.DataFrame:
    """Return the curves of a run, empty where it has none. Raises `InputError` for a damaged
    file."""
    file = folder / LOG
    if not file.exists():
        return pd.DataFrame({"epoch": []})
    try:
        return pd.read_csv(file).astype(float).astype({"epoch": int})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file} is no table of numbers by epoch: {error}.") from error


def _is_verified(folder: Path) -> bool:
    """Tell whether the weights gave the scores again. Raises `InputError` where that was said of
    other scores."""
    file = folder / VERIFIED
    if not file.exists():
        return False
    try:
        verified = Verified.model_validate_json(file.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is damaged; delete it and verify the run again.") from error
    if verified.scores != sha256(folder / SCORES["test"]):
        raise InputError(f"{file} is of other scores than those beside it; verify the run again.")
    return True
