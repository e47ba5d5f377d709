"""Preparation over the machines of a Ray cluster: each task decodes some files into own shards.

All machines see the audio and the cache under the same paths, and have this package installed.
"""

import logging
import math
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from zoo.errors import InputError
from zoo.index import Key

Reasons = dict[str, str]  # path -> why it cannot be used
MOST_FILES = 256  # of a task: what a worker that dies loses at most
TASKS_PER_CPU = 4  # at least, so that no machine waits long for the last


def add(
    decode: Callable[..., Reasons],
    keys: Sequence[Key],
    folder: Path,
    sample_rate: int,
    workers: int | None,
    progress: bool,
) -> Reasons:
    """Let a cluster call `decode` on slices of the files, `workers` at a time, by default as many
    as can run; return what all of them return.

    The cluster is that of $RAY_ADDRESS, else one that runs here, else one is started here. A task
    whose worker dies is tried again, three times, and only for what is in no shard of its yet.

    Raises:
        InputError: no Ray, no cluster, no CPU in it, or a machine that does not see `folder`.
    """
    folder, call = folder.absolute(), uuid.uuid4().hex
    witness = folder / f"{call}.tmp"
    with (
        connected("prepare.engine=ray") as ray,
        tqdm(
            desc="decoding", total=len(keys), unit="track", disable=None if progress else True
        ) as bar,
    ):
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        if not num_cpus:  # Ray would wait for ever
            raise InputError("prepare.engine=ray: the cluster has no CPU; start a node that has.")
        size = min(MOST_FILES, math.ceil(len(keys) / (TASKS_PER_CPU * num_cpus)))
        slices = [keys[start : start + size] for start in range(0, len(keys), size)]
        task = ray.remote(num_cpus=1, max_retries=3)(_decode_slice)
        names = (f"{call}-{number}-" for number in range(len(slices)))
        tasks = (
            (task.remote(decode, part, folder, sample_rate, witness, name), part)
            for part, name in zip(slices, names, strict=True)
        )
        try:
            witness.touch()
            return _collect(ray, tasks, workers or 2 * num_cpus, bar)
        finally:
            witness.unlink(missing_ok=True)


def _collect(ray: Any, tasks: Iterator[tuple[Any, Sequence[Key]]], most: int, bar: tqdm) -> Reasons:
    """Start the tasks, `most` at a time, and return what they return."""
    reasons: Reasons = {}
    waiting = dict(islice(tasks, most))
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting))
            try:
                reasons |= ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if sentence := _sentence(error):
                    raise InputError(sentence) from error
                raise
            except ray.exceptions.RayError as error:
                died = f"was not decoded: its worker died ({type(error).__name__})"
                reasons |= {path: died for path, *_ in waiting[done]}
            bar.update(len(waiting.pop(done)))
            waiting |= dict(islice(tasks, 1))
    finally:
        for left in waiting:  # interrupted, they keep what they have decoded
            ray.cancel(left)
        if waiting:
            ray.wait(list(waiting), num_returns=len(waiting), timeout=10)
    return reasons


def _sentence(error: Any) -> str:
    """Return what a task's error means to the user, if it is the user's."""
    if isinstance(error.cause, InputError):
        return str(error.cause)
    if unknown := re.search(r"No module named '\S+'", str(error)):
        message = "a machine of the cluster lacks this package or one that it needs"
        return f"prepare.engine=ray: {message} ({unknown[0]}); install it on all."
    return ""


def _decode_slice(
    decode: Callable[..., Reasons],
    keys: Sequence[Key],
    folder: Path,
    sample_rate: int,
    witness: Path,
    name: str,
) -> Reasons:
    """Decode, in a worker, what is in no shard that an earlier attempt at this slice wrote."""
    if not witness.exists():
        raise InputError(
            f"prepare.engine=ray: {socket.gethostname()} does not see the cache folder {folder}; "
            "set cache_dir to a folder that all machines of the cluster share."
        )
    shards = folder.glob(f"{name}*.parquet")
    done = {path for file in shards for path in pq.read_table(file)["path"].to_pylist()}
    rest = [key for key in keys if key[0] not in done]
    return decode(rest, folder, sample_rate, 1, False, name)


@contextmanager
def connected(setting: str) -> Iterator[Any]:
    """Connect to the cluster of $RAY_ADDRESS, else start one here, which ends with us.

    Raises `InputError`, which begins with the setting that asked for Ray, where there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        message = f"{setting} needs Ray, which is not installed: "
        raise InputError(f"{message}pip install 'genre-zoo[ray]'.") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        address = os.environ.get("RAY_ADDRESS", "")
        try:
            _knock(address)
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).splitlines()[0]
            message = f"{setting}: no Ray cluster answers at RAY_ADDRESS={address}: {reason}"
            raise InputError(message) from error
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise `OSError` if nobody listens at HOST:PORT, where Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
