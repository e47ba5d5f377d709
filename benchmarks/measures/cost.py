"""`cost`: what a model takes in parameters, operations, memory and time, on every device present.

Each device is measured in a process of its own (`benchmarks.costs`), one after the other. The
machine should have nothing else to do: `busy` says what share of its cores others took meanwhile.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from zoo.errors import InputError
from zoo.opened import Opened


def measure(run: Opened) -> pd.DataFrame:
    """Return the table of `benchmarks.costs`, the devices' one after the other.

    Raises `InputError` where a device could not be measured.
    """
    return pd.concat([_on(device, run.folder) for device in devices()], ignore_index=True)


def devices() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES has to be for each: nothing for the CPU, then the first GPU
    of each name."""
    names: dict[str, str] = {"cpu": ""}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    for number in range(torch.cuda.device_count()):
        own = visible.split(",")[number] if visible else str(number)
        names.setdefault(torch.cuda.get_device_name(number), own)
    return list(names.values())


def _on(device: str, folder: Path) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "costs.parquet"
        command = [sys.executable, "-m", "benchmarks.costs", str(folder.absolute()), str(file)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": device}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            where, reason = device or "the CPU", done.stderr.strip().splitlines()[-1:]
            raise InputError(f"{folder} could not be measured on {where}: {' '.join(reason)}")
        return pd.read_parquet(file)
