"""`python -m zoo.export MODEL --format onnx|torch`: one file that does all that the model does.

MODEL is a run, a model folder or a name on the Hub. The front end is inside: a waveform goes in,
probabilities and an embedding come out; what else there is to know is in the file's metadata. The
file is written if it gives the model's numbers on real music: that of the run's data set, of
--audio, or composed here. `python -m zoo.predict FILE.onnx` runs it without torch.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo import runtime
from zoo.errors import InputError, guard
from zoo.examples import Examples, find_examples
from zoo.exporting import TOLERANCE, Difference, Exported, TorchDraft, difference, export
from zoo.exporting_onnx import OnnxDraft
from zoo.int8 import loss, quantise, run_with_data
from zoo.model import GenreModel
from zoo.publish import check_name, push
from zoo.runners_onnx import OnnxRunner
from zoo.runners_torch import ProgramRunner, load_calibrated

CONVERT = {"onnx": OnnxDraft.of, "torch": TorchDraft}
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
READ: dict[str, Any] = {".onnx": OnnxRunner, ".pt2": ProgramRunner}


def write(exported: Exported, model: GenreModel, file: Path, examples: Examples) -> Difference:
    """Write a file, whole or not at all, and return how far from the model's its numbers are.

    Raises `InputError` where that is more than `TOLERANCE`, and for a file that cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
            part = Path(folder) / file.name
            exported.draft.write(part, exported.about)
            runner = READ[file.suffix](part, runtime.set_threads(None))
            apart = difference(model, runner.run, examples.samples_BT)
            if apart.is_small or exported.is_rounded:
                part.replace(file)
                return apart
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from error
    raise InputError(
        f"{file} is not written: its numbers differ from the model's by up to "
        f"{apart.probability:.1e} in probabilities and {apart.embedding:.1e} in embeddings on "
        f"{examples.what}, and may by {TOLERANCE:g}."
    )


def describe(file: Path, exported: Exported, apart: Difference, examples: Examples) -> str:
    """Return what there is to know about a file."""
    about, num_classes = exported.about, len(exported.about.classes)
    temperature = about.calibrated.temperature if about.calibrated else None
    lines = [
        f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB): {about.model} on {about.frontend}",
        f"in: waveform [batch, samples], float32 in [-1, 1] at {about.sample_rate} Hz; any batch; "
        f"samples: {exported.lengths}",
        f"out: probabilities [batch, {num_classes}], embedding [batch, {about.num_features}]",
        f"classes: {', '.join(about.classes)}",
        f"temperature: {temperature:.4g} (in the metadata, for the mean over a track's chunks)"
        if temperature
        else "temperature: none, it is not calibrated",
        f"largest difference from the model on {examples.what}: {apart.probability:.1e} in "
        f"probabilities, {apart.embedding:.1e} in embeddings (of their largest number)",
    ]
    return "\n".join(lines)


def output(out: Path | None, name: str, form: str, int8: bool) -> Path:
    """Return the file to write: `out`, or one in the current folder called like the model. Raises
    `InputError` for a name that does not say its format."""
    file = out or Path(f"{name}{'-int8' * int8}{SUFFIX[form]}")
    if file.suffix != SUFFIX[form]:
        raise InputError(f"--out {file} must end in {SUFFIX[form]}, as --format {form} asks for.")
    return file


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m zoo.export", description=__doc__)
    parser.add_argument("model", help="a run, a model folder or a name on the Hub")
    parser.add_argument("--format", choices=CONVERT, default="onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: named like the model")
    parser.add_argument("--int8", action="store_true", help="weights of 8 bits (ONNX, of a run)")
    parser.add_argument(
        "--audio", nargs="+", default=[], metavar="PATH", help="music to check the file with"
    )
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload model, file and card")
    options = parser.parse_args(arguments)
    if options.int8 and options.format != "onnx":
        raise InputError("--int8 is possible with --format onnx only.")
    if options.push_to_hub:
        check_name(options.push_to_hub)
    runtime.set_threads(None)
    model = load_calibrated(options.model).float()
    file = output(options.out, model.config.model, options.format, options.int8)
    run = run_with_data(options.model) if options.int8 else None
    examples = find_examples(options.model, model, options.audio)
    exported = export(model, CONVERT[options.format], examples.samples_BT)
    whole = exported
    if run is not None:
        exported = quantise(whole)
    apart = write(exported, model, file, examples)
    print(describe(file, exported, apart, examples), flush=True)
    if run is not None:
        print(loss(run, whole, exported), flush=True)
    if options.push_to_hub:
        address = push(model, Path(options.model).expanduser(), file, options.push_to_hub)
        print(f"uploaded model, file and card to {address}")


if __name__ == "__main__":
    guard(main)
