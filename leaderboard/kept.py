"""The results that are kept: each is read and checked; what is wrong is refused, with its reason.

A folder of results with a `protocols.yaml` is a public leaderboard: it takes results of the
protocols named there, and ranks those whose weights gave their scores again (`verified.json`). In
one without, such as your own `runs`, every protocol is taken and every run ranks.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from zoo.errors import InputError
from zoo.pooling import Run, checked_run
from zoo.results import FILE, SCORES, Protocol, Result, Strict

RESULTS = Path(__file__).parent / "results"
PROTOCOLS = "protocols.yaml"
VERIFIED = "verified.json"


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
    """Read and check all results below a folder. Raises `InputError` where there is no folder, or
    its protocols.yaml is damaged."""
    if not results.is_dir():
        raise InputError(f"{results} is no folder; give one of results, such as {RESULTS.name}.")
    known = read_protocols(results)
    runs: dict[str, Run] = {}
    ranked, refused = set(), []
    for folder in _folders(results):
        try:
            run = _accepted(folder, known)
            may_rank = known is None or _is_verified(folder)
            if same := runs.get(name := run_id(run.result)):
                raise InputError(
                    f"{same.folder} is of the same protocol, recipe and seed: a duplicate."
                )
            runs[name] = run
            if may_rank:
                ranked.add(folder)
        except ValueError as error:
            refused.append(Refused(folder, str(error)))
    return Kept(tuple(runs.values()), frozenset(ranked), tuple(refused))


def _folders(results: Path) -> Iterator[Path]:
    """Yield the folders that hold a result, or a part of one."""
    names = (FILE, SCORES["test"])
    found = {file.parent for name in names for file in results.rglob(name)}
    yield from sorted(folder for folder in found if folder.suffix != ".part")


def _accepted(folder: Path, known: dict[str, str] | None) -> Run:
    run = checked_run(folder)
    protocol = run.result.protocol
    if known is not None and protocol_id(protocol) not in known:
        raise InputError(
            f"{folder / FILE} is of an unknown protocol: {protocol.dataset}, split "
            f"{protocol.split}, test tracks {protocol.test_fingerprint}; {PROTOCOLS} has "
            f"{', '.join(sorted(set(known.values())))}. `submit --new-protocol` adds one."
        )
    return run


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


def sha256(*files: Path) -> str:
    """Return the hash of the content of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def run_id(result: Result) -> str:
    """Return a hash of protocol, recipe and seed, which names a run's folder."""
    protocol = result.protocol.model_dump(exclude={"contrasts"})
    return _hash([protocol, result.recipe, result.seed])


def protocol_id(protocol: Protocol) -> str:
    """Return a hash of what was measured on what, fold included."""
    return _hash(protocol.model_dump(exclude={"contrasts"}))


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def read_protocols(results: Path) -> dict[str, str] | None:
    """Return the protocols that are known, their ids and what they are called; None where any may
    be. Raises `InputError` for a damaged file."""
    file = results / PROTOCOLS
    if not file.exists():
        return None
    try:
        return {entry["id"]: entry["about"] for entry in yaml.safe_load(file.read_text("utf-8"))}
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise InputError(
            f"{file} must be a list of protocols, each with `id` and `about`; {error}."
        ) from error


def add_protocol(results: Path, protocol: Protocol) -> None:
    """Add a protocol to those that are known."""
    known, new = read_protocols(results) or {}, protocol_id(protocol)
    fold = "" if protocol.fold is None else f", fold {protocol.fold}"
    known.setdefault(new, f"{protocol.dataset}, {protocol.split}{fold}, {protocol.evaluation}")
    entries = [{"id": name, "about": about} for name, about in known.items()]
    results.mkdir(parents=True, exist_ok=True)
    (results / PROTOCOLS).write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")
