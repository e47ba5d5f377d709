"""A finished run, opened again: its model on a device, and its data's audio."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from omegaconf import OmegaConf

from zoo import runtime
from zoo.config import assign, compose
from zoo.model import GenreModel
from zoo.prepare import Data, decode_tracks, load_manifest
from zoo.results import Result, read_result


@dataclass(frozen=True)
class Opened:
    """A run's folder, what its result says, and what it takes to score audio as the run did."""

    folder: Path
    result: Result
    config: Any  # of the run, keys that are newer than it by their defaults
    accelerator: Accelerator

    @cached_property
    def model(self) -> GenreModel:
        """The run's best weights, in evaluation mode, on the device."""
        return GenreModel.from_pretrained(self.folder).to(self.accelerator.device)

    @cached_property
    def data(self) -> Data:
        """All tracks of the run's data set that can be used, decoded at the model's rate."""
        return decode_tracks(load_manifest(self.config), self.config, self.model.sample_rate)


def open_run(folder: Path, arguments: Sequence[str] = ()) -> Opened:
    """Open a finished run with the threads and precision that it had, or on a device of another
    name with the precision that suits that; `arguments` such as dataset.path=DIR change its
    configuration.

    Raises `InputError` for a folder that holds no valid result.
    """
    result = read_result(folder)
    defaults: Any = OmegaConf.to_container(compose("train"))
    config = assign({**defaults, **result.config}, arguments)
    runtime.keep_freed_memory()
    runtime.set_threads(result.threads)
    return Opened(folder, result, config, runtime.make_accelerator(precision_here(result)))


def precision_here(result: Result) -> str:
    """Return the precision to open a run with on this process's device."""
    device = runtime.processes().device
    if runtime.device_name(device) == result.hardware.device:
        return result.precision
    preferred = "fp32" if result.precision == "fp32" else "bf16"
    return runtime.choose_precision("auto", preferred, device)
