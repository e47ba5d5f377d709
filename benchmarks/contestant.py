"""`python -m benchmarks.contestant KIND NAME WHAT`: work to be timed in a process of its own.

Prints "ready" when it is; for each line that it reads it does the work twice and prints the seconds
of the second time. KIND is a key of `KINDS`, NAME a model, or an exported file; WHAT is the size of
the batch that it scores, or the folder of music that it embeds.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

Work = Callable[[], object]
OPEN = subprocess.Popen[str]


def exported(name: str, batch: str) -> Work:
    """Return the scoring of a batch by an ONNX file, without torch."""
    from zoo.runners_onnx import OnnxRunner

    runner = OnnxRunner(Path(name))
    samples = noise(int(batch), runner.about.clip_samples)
    return lambda: runner.run(samples)


def eager(name: str, batch: str) -> Work:
    """Return the scoring of a batch by a model in float32."""
    return _scoring(name, batch, is_plain=False)


def kept(name: str, batch: str) -> Work:
    """Return the same where freed memory is kept for the next batch, as `zoo.predict` does."""
    from zoo import runtime

    runtime.keep_freed_memory()
    return eager(name, batch)


def plain(name: str, batch: str) -> Work:
    """Return that of a plain implementation: contiguous, torchaudio's mel inside."""
    return _scoring(name, batch, is_plain=True)


def embedding(name: str, folder: str) -> Work:
    """Return the embedding of a folder of music as `zoo.embed` does it."""
    from benchmarks.embedding import embed, files_in
    from zoo import create_model, runtime
    from zoo.runners_torch import ModelRunner

    runtime.keep_freed_memory()
    runner = ModelRunner(create_model(name, num_classes=8))
    return lambda: embed(runner, files_in(folder))


def looping(name: str, folder: str) -> Work:
    """Return the same by the loop that one would write, on as many threads."""
    from benchmarks.embedding import files_in, plainly
    from zoo import create_model

    model = create_model(name, num_classes=8).eval()
    return lambda: plainly(model, files_in(folder))


def _scoring(name: str, batch: str, is_plain: bool) -> Work:
    import torch

    from benchmarks.speed_models import make_plain
    from benchmarks.speed_training import in_form
    from zoo import create_model, runtime
    from zoo.capture import Both
    from zoo.scores import chunk_length, to_waveform

    runtime.set_threads(None)
    model = create_model(name, num_classes=8).eval()
    if is_plain:
        make_plain(model)
        in_form(model.eval(), False, "fp32")
    both = Both(model)
    x_BT = to_waveform(noise(int(batch), chunk_length(model)), torch.device("cpu"))
    return torch.inference_mode()(lambda: both(x_BT))


def noise(batch: int, samples: int) -> np.ndarray:
    """Return int16 clips."""
    return np.random.default_rng(0).integers(-3000, 3000, (batch, samples)).astype(np.int16)


KINDS: dict[str, Callable[[str, str], Work]] = {
    f.__name__: f for f in (exported, eager, kept, plain, embedding, looping)
}


def in_turn(
    contestants: list[tuple[str, str]], what: object, rounds: int
) -> list[tuple[float, ...]]:
    """Return the seconds of each contestant (kind, name) in each round, after one to warm up."""
    command = [sys.executable, "-m", "benchmarks.contestant"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with ExitStack() as stack:
        processes = []
        for kind, name in contestants:
            process: OPEN = subprocess.Popen([*command, kind, name, str(what)], **pipes)  # type: ignore[call-overload]
            processes.append(stack.enter_context(process))
            _line(process)  # ready: only one works at a time
        return [tuple(map(_seconds, processes)) for _ in range(rounds + 1)][1:]


def _seconds(process: OPEN) -> float:
    assert process.stdin is not None
    process.stdin.write("\n")
    return float(_line(process))


def _line(process: OPEN) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} has ended")
    return line


def main() -> None:
    """Take part."""
    kind, name, what = sys.argv[1:]
    work = KINDS[kind](name, what)
    print("ready", flush=True)
    for _ in sys.stdin:
        work()  # what the others' turns have left in the caches is not timed
        started = time.perf_counter()
        work()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
