"""A suite: one YAML file that says what is trained on what, how often, how long, and measured how.

about: one sentence
settings: {epochs: 10}              # arguments of zoo.train, for every run
grids:                              # in each, all models on all data with all seeds
  - data: [{dataset: synth}]        # arguments of zoo.train again
    models: [{model: crnn}, {model: crnn, frontend: cqt}]
    seeds: [0, 1, 2]
measures: [cost, robustness]        # of `benchmarks.measures`
tune: {trials: 8, settings: {epochs: 3}}  # before all that, see `benchmarks.tuning`
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from pydantic import ConfigDict, Field, ValidationError

from benchmarks.job import Job, identity
from benchmarks.measure import COMPUTED, NAMES
from zoo.config import assign, compose, parse
from zoo.datasets.base import Manifest
from zoo.errors import InputError, check_choice
from zoo.prepare import card_of, is_missing, load_manifest, presence
from zoo.registry import choices, configs_dir
from zoo.results import Strict
from zoo.sources import SUFFIXES

Arguments = Mapping[str, Any]  # of zoo.train: key -> value


class Grid(Strict):
    """All models on all data with all seeds and folds."""

    data: list[dict[str, Any]] = Field(min_length=1)
    models: list[dict[str, Any]] = Field(min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    folds: list[int] = []  # of which each is the test once; none: the data set's split
    settings: dict[str, Any] = {}


class Tuning(Strict):
    """How recipes are tuned before the runs."""

    trials: int = Field(ge=1)  # for each model on each data set, the recipe as it is among them
    settings: dict[str, Any] = {}  # arguments of zoo.train for the trials alone, such as less time


class Suite(Strict):
    """What a suite's file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str
    grids: list[Grid] = Field(min_length=1)
    settings: dict[str, Any] = {}
    measures: list[str] = []
    tune: Tuning | None = None


@dataclass(frozen=True)
class Absent:
    """Runs that cannot be planned, and the sentence that says what they need."""

    row: str
    data: str
    reason: str


def read_suite(name: str) -> Suite:
    """Return the suite `configs/suite/<name>.yaml`, or that of a file. Raises `InputError`."""
    file = Path(name).expanduser()
    if file.suffix not in (".yaml", ".yml"):
        check_choice("suite", name, choices("suite"))
        file = configs_dir() / "suite" / f"{name}.yaml"
    try:
        suite = Suite.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"suite={name}: {file} cannot be read: {reason}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"suite={name}: {place} of {file}: {first['msg']}.") from error
    for measure in suite.measures:
        check_choice(f"suite={name}: measures", measure, (*NAMES, *COMPUTED))
    return suite


def with_data(suite: Suite, typed: Sequence[str]) -> Suite:
    """Return the suite on the data set that was typed (`dataset=...`), in place of its own."""
    given = {a.key: a.value for a in map(parse, typed)}
    if "dataset" not in given:
        return suite
    grids = {  # several data sets of a suite become one
        str((grid.models, grid.seeds, grid.settings)): grid.model_copy(
            update={"data": [{"dataset": given["dataset"]}], "folds": []}
        )
        for grid in suite.grids
    }
    return suite.model_copy(update={"grids": [*grids.values()]})


def expand(
    suite: Suite,
    typed: Sequence[str],
    folder: Path,
    checkpoints: Path | None = None,
    remote: bool = True,
) -> tuple[list[Job], list[Absent]]:
    """Return the runs of a suite, each once, and what cannot be run.

    `typed` are arguments for every run, which go before what the suite says; `folder` is where runs
    are kept, `checkpoints` where weights are looked up first. Weights from the Hub are fetched,
    once their data set is at hand, unless `remote` is false.
    """
    planner = Planner(folder, checkpoints, remote)
    jobs: dict[Path, Job] = {}
    absent: dict[Absent, None] = {}
    for grid in with_data(suite, typed).grids:
        for data, model in product(grid.data, grid.models):
            common = {**suite.settings, **grid.settings, **data}
            try:
                for job in planner.plan(common, model, typed, grid):
                    jobs.setdefault(job.folder, job)
            except InputError as error:
                absent[Absent(row_of(model), row_of(data), str(error))] = None
    return [*jobs.values()], [*absent]


def row_of(arguments: Arguments) -> str:
    """Return what a model or a data set is called: its values, those of longer keys named."""
    named = {k: v for k, v in arguments.items() if k != "checkpoint"}
    parts = [str(v) if "." not in k else f"{k.rpartition('.')[2]}={v}" for k, v in named.items()]
    if checkpoint := arguments.get("checkpoint"):
        path = Path(checkpoint)
        parts.append(f"from {path.parent if path.suffix in SUFFIXES else path}")
    return " ".join(parts)


class Planner:
    """Makes runs of arguments; each data set is looked at once."""

    def __init__(self, folder: Path, checkpoints: Path | None, remote: bool) -> None:
        self.folder, self.checkpoints, self.remote = folder, checkpoints, remote
        self.manifests: dict[str, Manifest] = {}

    def plan(
        self, common: Arguments, model: Arguments, typed: Sequence[str], grid: Grid
    ) -> Iterator[Job]:
        """Yield the runs of one model on one data set. Raises `InputError` for what is missing."""
        row = row_of(model)
        if "checkpoint" in model:  # what is absent is said before weights are fetched
            self._manifest(compose("train", [*as_typed(common), *typed]))
            model = {**model, "checkpoint": self._weights(model["checkpoint"])}
        arguments = [*as_typed({**common, **model}), *typed]
        composed: Any = OmegaConf.to_container(compose("train", arguments))
        folds: list[int | None] = [*grid.folds] or [None]
        for fold, seed in product(folds, grid.seeds):
            own = [f"seed={seed}"] + ([] if fold is None else [f"dataset.fold={fold}"])
            config = assign(composed, own)
            manifest = self._manifest(config)
            content: Any = OmegaConf.to_container(config)
            place = self.folder / manifest.name / config.model.name / identity(config, manifest)
            yield Job(row, seed, manifest, (*arguments, *own), content, place)

    def _manifest(self, config: Any) -> Manifest:
        key = str((config.dataset, config.split))
        if key not in self.manifests:
            manifest = load_manifest(config)
            if is_missing(manifest).mean() > config.dataset.max_bad:
                raise InputError(presence(manifest, card_of(config)))
            self.manifests[key] = manifest
        return self.manifests[key]

    def _weights(self, checkpoint: str) -> str:
        """Return where weights are: below `checkpoints`, in whatever format, else as named."""
        if self.checkpoints is not None:
            file = self.checkpoints.expanduser() / checkpoint
            for other in (file, *(file.with_suffix(suffix) for suffix in SUFFIXES)):
                if other.exists():
                    return str(other)
        path = Path(checkpoint).expanduser()
        if path.exists() or (self.remote and path.suffix not in SUFFIXES):
            return checkpoint
        at_hub = "" if path.suffix in SUFFIXES else ", and would be fetched from the Hub"
        raise InputError(
            f"checkpoint={checkpoint} is not here{at_hub}; give checkpoints=DIR, the folder in "
            "which it lies below that name."
        )


def as_typed(values: Arguments) -> list[str]:
    """Return YAML values as one types them on the command line."""
    return [f"{key}={json.dumps(v) if not isinstance(v, str) else v}" for key, v in values.items()]
