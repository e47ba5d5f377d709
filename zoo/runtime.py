"""The machine at hand: threads, memory, precision, processes, and how to describe it."""

import ctypes
import importlib.metadata
import logging
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType, broadcast_object_list

from zoo.errors import InputError, check_choice, nearest

T = TypeVar("T")

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # ours: Accelerate's


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for processes that train on a CPU (glibc only).

    It would give the memory of large tensors back to the system after every operation and fault
    it in again page by page: a third of a CRNN's training step.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8  # malloc.h
    for option, value in ((m_arena_max, 1), (m_mmap_max, 0), (m_trim_threshold, 2**31 - 1)):
        mallopt(option, value)


def set_threads(threads: int | None) -> int:
    """Set the number of CPU threads (None: as many as cores may be used) and return it.

    They take numbers below 1e-38 for 0: published weights are full of such, where weight decay has
    shrunk whole filters, and some CPUs compute many times slower with them.
    """
    torch.set_flush_denormal(True)  # threads that start later inherit it
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def computes_bf16(device: torch.device) -> bool:
    """Tell whether the device computes bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def choose_precision(asked: str, preferred: str, device: torch.device) -> str:
    """Return fp32, bf16 or fp16: what was asked, or for `auto` what suits model and device."""
    if asked == "auto":
        return preferred if preferred == "fp32" or computes_bf16(device) else "fp32"
    check_choice("precision", asked, ["auto", *PRECISIONS])
    if asked == "fp16" and device.type != "cuda":
        raise InputError(f"precision=fp16 needs a CUDA GPU, and this is a {device.type}; try bf16.")
    return asked


def processes() -> PartialState:
    """Return which process this is, of how many, and its device."""
    cpu = not torch.accelerator.is_available()  # or Accelerate does not see torchrun on CPUs
    return PartialState(cpu=cpu, timeout=timedelta(days=1))  # others wait while one decodes


def on_main(call: Callable[[], T]) -> T:
    """Call on the main process only; return its value, or raise its `InputError`, on all."""
    outcome: list[Any] = [None, None]
    if processes().is_main_process:
        try:
            outcome[0] = call()
        except InputError as error:
            outcome[1] = error
    if processes().num_processes > 1:
        broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def check_batch(batch_size: int) -> None:
    """Raise `InputError` for a batch that the processes cannot share, two clips each at least."""
    number = processes().num_processes
    if batch_size % number or batch_size < 2 * number:
        raise InputError(
            f"batch_size={batch_size} cannot be shared by {number} processes, two clips each at "
            f"least; try {max(2, batch_size // number) * number}."
        )


def check_tracker(name: str) -> None:
    """Raise `InputError` for a tracker that Accelerate does not know or that is not installed."""
    known = ["none", *(str(t.value) for t in LoggerType if t is not LoggerType.ALL)]
    if name not in known:
        raise InputError(f"tracker={name} is unknown; {nearest(name, known)}")
    at_hand = ["none", *(str(getattr(t, "value", t)) for t in get_available_trackers())]
    if name not in at_hand:
        raise InputError(f"tracker={name} is not installed; at hand are {', '.join(at_hand)}.")


def make_accelerator(
    precision: str, tracker: str = "none", folder: Path | None = None
) -> Accelerator:
    """Return the Accelerator for fp32, bf16 or fp16, logging to a tracker if one is named."""
    AcceleratorState._reset_state()  # else a process's first precision would be its only one
    return Accelerator(
        cpu=processes().device.type == "cpu",
        mixed_precision=PRECISIONS[precision],
        log_with=None if tracker == "none" else tracker,
        project_dir=folder,
        step_scheduler_with_optimizer=False,
    )


@contextmanager
def silence() -> Iterator[None]:
    """Show neither warnings nor what is logged."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def processor() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """Return the peak of the GPU's memory, else of the process's, in bytes; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss counts the process that started this one as well
        peaks = re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())
        if peaks:
            return int(peaks[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    packages = ("genre-zoo", "torch", "torchaudio", "timm", "nnAudio", "accelerate", "numpy")
    found = {"python": platform.python_version()}
    for package in (*packages, "transformers", "peft", "pandas", "soundfile", "soxr"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
