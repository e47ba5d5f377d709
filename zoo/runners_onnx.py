"""The runner of ONNX files, by onnxruntime alone: no torch."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo.decoding import num_cores
from zoo.errors import InputError
from zoo.runners import CPU_BATCH, KEY, About, Outputs, Runner

INPUT, OUTPUTS = "waveform", ("probabilities", "embedding")


class OnnxRunner(Runner):
    """A file that `python -m zoo.export --format onnx` wrote."""

    def __init__(self, file: Path, threads: int | None = None) -> None:
        """Raises `InputError` for a file that is damaged, or of somebody else."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}.") from error
        self._session = session(content, file, 1)
        self.batch_size = CPU_BATCH
        self.streams = threads or int(os.environ.get("OMP_NUM_THREADS") or num_cores())
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        try:
            self.about = About.loads(text or "")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file} does not say its classes and sample rate: it was not written by "
                "`python -m zoo.export`."
            ) from error

    def run(self, samples_BT: np.ndarray) -> Outputs:
        return evaluate(self._session, samples_BT)


def session(content: bytes, name: object, threads: int) -> Any:
    """Return an onnxruntime session on the CPU for the content of a file called `name`. Raises
    `InputError` where there is none.

    Numbers below 1e-38 are 0 for it, as in PyTorch here (`zoo.runtime.set_threads`).
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{name} needs onnxruntime, which is not installed: pip install 'genre-zoo[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is fatal; errors are raised
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base but this
        reason = str(error).splitlines()[0].rsplit(" : ", 1)[-1].rstrip(".")
        raise InputError(f"{name} is not a whole ONNX file: {reason}.") from error


def evaluate(session: Any, samples_BT: np.ndarray) -> Outputs:
    """Return what a session gives for int16 clips."""
    x_BT = samples_BT.astype(np.float32)
    x_BT *= np.float32(1 / 32768)
    return Outputs(*session.run(list(OUTPUTS), {INPUT: x_BT}))
