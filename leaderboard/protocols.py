"""What identifies a protocol and a run, where a run is kept, and which protocols are known."""

import hashlib
import json
import re
from pathlib import Path

import yaml

from zoo.errors import InputError
from zoo.results import Protocol, Result, recipe_hash

RESULTS = Path(__file__).parent / "results"
PROTOCOLS = "protocols.yaml"


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


def recipe_fits(result: Result) -> bool:
    """Tell whether the recipe is that of the configuration; with weights that training started
    from, which count by their hash, nobody can tell."""
    config = result.config
    starts = config.get("checkpoint") or config["model"].get("backend", {}).get("checkpoint")
    return starts is not None or recipe_hash(config) == result.recipe


def folder_of(result: Result, results: Path) -> Path:
    """Return where a run is kept. Raises `InputError` for names that cannot be those of folders."""
    for name in (result.protocol.dataset, result.model):
        if not re.fullmatch(r"\w[\w .+-]*", name):
            raise InputError(f"{name!r} cannot be the name of a folder; use letters and digits.")
    return results / result.protocol.dataset / result.model / run_id(result)


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
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        raise InputError(
            f"{file} must be a list of protocols, each with `id` and `about`."
        ) from error


def add_protocol(results: Path, protocol: Protocol) -> None:
    """Add a protocol to those that are known."""
    known, new = read_protocols(results) or {}, protocol_id(protocol)
    fold = "" if protocol.fold is None else f", fold {protocol.fold}"
    known.setdefault(new, f"{protocol.dataset}, {protocol.split}{fold}, {protocol.evaluation}")
    entries = [{"id": name, "about": about} for name, about in known.items()]
    results.mkdir(parents=True, exist_ok=True)
    (results / PROTOCOLS).write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")
