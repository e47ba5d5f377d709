"""`python -m benchmarks.speed_export [NAME ...]`: the exported files of every model.

How far from the model's their numbers are, for which lengths of clips they are good, and how many
times as fast as PyTorch the ONNX file is: each in a process of its own, in turn. Prints a table;
with --out FILE it is also written as Markdown. Weights are random, the statistics of norms those of
the music. Exits with 1 if a difference is too large, or a model cannot be exported.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from benchmarks.contestant import in_turn
from benchmarks.speed_models import WITH_REFERENCE
from benchmarks.timing import Ratio
from zoo import create_model, list_models, runtime
from zoo.errors import InputError
from zoo.examples import Examples, find_examples
from zoo.export import SUFFIX, write
from zoo.exporting import Convert, TorchDraft, export
from zoo.exporting_onnx import OnnxDraft
from zoo.model import GenreModel
from zoo.scores import to_waveform

BATCH, ROUNDS = 8, 3
PASSES = 20  # over the music, until the statistics of norms are those of it
KINDS = {
    "eager": "eager",
    "kept": "eager, freed memory kept",
    "plain": "plain implementation",
}  # and the heads of their columns: how many times as fast the ONNX file is
HOW = f"""One thread, batches of {BATCH} chunks, {ROUNDS} rounds in turn, each contestant in a
process of its own: median (lowest to highest) of the times over that of the ONNX file. `eager` is
the model in float32; `freed memory kept` is the same with `zoo.runtime.keep_freed_memory`, as
`zoo.predict` runs it; the plain implementation is contiguous, with torchaudio's mel. Differences
are the largest on music that Genre Zoo composed, of probabilities and of embeddings in units of the
largest number in them. Weights are random, the statistics of norms those of the music."""


class Row(NamedTuple):
    """A line of the table."""

    model: str
    lengths: str
    megabytes: str
    onnx: str  # differences
    torch: str
    ratios: dict[str, str]
    is_good: bool


def settle(model: GenreModel, examples: Examples) -> GenreModel:
    """Return the model in evaluation mode, the statistics of its norms those of the music."""
    x_BT = to_waveform(examples.samples_BT, torch.device("cpu"))
    has_norms = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    with torch.no_grad():
        for _ in range(PASSES if has_norms else 0):
            model.train()(x_BT)
    return model.eval()


def exported(
    model: GenreModel, convert: Convert, file: Path, examples: Examples
) -> tuple[str, str, bool]:
    """Return the differences, the lengths, and whether all is well."""
    try:
        made = export(model, convert, examples.samples_BT)
        apart = write(made, model, file, examples)
    except InputError as error:
        return str(error), "", False
    return f"{apart.probability:.0e}, {apart.embedding:.0e}", made.lengths, True


def measure(name: str, folder: Path) -> Row:
    """Export a model and time it."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=8)
    examples = find_examples("", model)
    settle(model, examples)
    file = folder / f"{name}{SUFFIX['onnx']}"
    onnx, lengths, is_good = exported(model, OnnxDraft.of, file, examples)
    other, _, is_other_good = exported(model, TorchDraft, file.with_suffix(".pt2"), examples)
    if not is_good:
        return Row(name, lengths, "", onnx, other, {}, False)
    kinds = [kind for kind in KINDS if kind != "plain" or name in WITH_REFERENCE]
    times = in_turn([("exported", str(file)), *((k, name) for k in kinds)], BATCH, ROUNDS)
    columns = list(zip(*times, strict=True))
    ratios = {
        kind: str(Ratio(tuple(b / a for a, b in zip(columns[0], column, strict=True))))
        for kind, column in zip(kinds, columns[1:], strict=True)
    }
    size = f"{file.stat().st_size / 1e6:.1f}"
    return Row(name, lengths, size, onnx, other, ratios, is_other_good)


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown."""
    lines = [
        {
            "model": row.model,
            "samples": row.lengths,
            "MB": row.megabytes,
            "ONNX, difference": row.onnx,
            "torch, difference": row.torch,
            **{head: row.ratios.get(kind, "") for kind, head in KINDS.items()},
        }
        for row in rows
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_export", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; by default all")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    threads = runtime.set_threads(None)
    title = f"Exported files on {runtime.processor()}, {threads} thread{'s' * (threads > 1)}"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or list_models():
            rows.append(measure(name, Path(folder)))
            print(*rows[-1], sep=" | ", flush=True)
            for file in Path(folder).iterdir():
                file.unlink()
    print(f"\n{table(rows)}")
    if options.out:
        options.out.write_text(f"# {title}\n\n{HOW}\n\n{table(rows)}\n", "utf-8")
    sys.exit(0 if all(row.is_good for row in rows) else 1)


if __name__ == "__main__":
    main()
