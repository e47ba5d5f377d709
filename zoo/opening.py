"""From what a user names to a runner: a run, a model folder, a Hub name, an exported file.

Importing loads no torch; opening an ONNX file does not either.
"""

from pathlib import Path

from zoo.errors import InputError
from zoo.runners import Runner

SUFFIXES = (".onnx", ".pt2")  # of exported files


def open_runner(name: str | Path, threads: int | None = None) -> Runner:
    """Open an exported file (.onnx, .pt2), or a run, a model folder or a Hub name.

    `threads` of the CPU are used, by default $OMP_NUM_THREADS or all cores; each runs batches of
    its own, so that none waits for another where other work disturbs it. Raises `InputError` for
    what is no model.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        from zoo.runners_torch import ModelRunner

        return ModelRunner.open(name, threads)
    if not path.is_file():
        raise InputError(f"{name} is not a file; give one that `python -m zoo.export` wrote.")
    if path.suffix.lower() == ".onnx":
        from zoo.runners_onnx import OnnxRunner

        return OnnxRunner(path, threads)
    from zoo.runners_torch import ProgramRunner

    return ProgramRunner(path, threads)
