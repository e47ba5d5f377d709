"""The runner of ONNX files, by onnxruntime alone: no torch."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import InputError
from zoo.runners import KEY, About, Outputs, Runner

INPUT, OUTPUTS = "waveform", ("probabilities", "embedding")


class OnnxRunner(Runner):
    """A file that `python -m zoo.export --format onnx` wrote."""

    def __init__(self, file: Path, threads: int | None = None) -> None:
        """Raises `InputError` for a file that is damaged, or of somebody else."""
        self._session = session(file, threads)
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        try:
            self.about = About.loads(text or "")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file} does not say its classes and sample rate: it was not written by "
                "`python -m zoo.export`."
            ) from error

    def run(self, samples_BT: np.ndarray) -> Outputs:
        x_BT = samples_BT.astype(np.float32)
        x_BT *= np.float32(1 / 32768)
        return Outputs(*self._session.run(list(OUTPUTS), {INPUT: x_BT}))


def session(file: Path, threads: int | None) -> Any:
    """Return an onnxruntime session on the CPU. Raises `InputError` where there is none."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{file} needs onnxruntime, which is not installed: pip install 'genre-zoo[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))  # 0: all
    try:
        return onnxruntime.InferenceSession(
            file.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common base but this
        reason = str(error).splitlines()[0].rsplit(" : ", 1)[-1].rstrip(".")
        raise InputError(f"{file} is not a whole ONNX file: {reason}.") from error
