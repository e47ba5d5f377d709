"""`python -m zoo.models`: every architecture with its paper, its size, and what it takes."""

import argparse
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.errors import guard
from zoo.registry import choices, configs_dir, target

if TYPE_CHECKING:
    from zoo.model import GenreModel

SECONDS = 10.0  # of the track whose price is told
KINDS = ("spectrogram", "waveform")  # of front ends
LEGEND = f"""\
Parameters are those of front end and back end, without the head. MACs are the multiply-adds of
scoring a track of {SECONDS:g} s in chunks of the clip's length, with the usual front end, as
PyTorch counts them: convolutions, matrix products and attention, but no Fourier transform. Shorter
audio than `shortest` is repeated in training and evaluation, and refused by the model itself. Audio
transformers are listed as they are without a checkpoint, which brings its own size."""


def about(group: str, name: str) -> str:
    """Return the first comment of a choice's YAML: for a model, its paper."""
    lines = (configs_dir() / group / f"{name}.yaml").read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("# ") and "@package" not in line]
    return comments[0].removeprefix("# ").rstrip(".")


@cache
def frontends(kind: str) -> tuple[str, ...]:
    """Return the front ends of a kind."""
    return tuple(f for f in choices("frontend") if target("frontend", f).kind == kind)


def multiply_adds(model: "GenreModel", seconds: float) -> int:
    """Return the multiply-adds of scoring a track of so many seconds, chunk by chunk."""
    import numpy as np
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from zoo.chunks import num_chunks

    samples = np.array([round(seconds * model.sample_rate)])
    clip = round(min(model.config.clip_seconds, seconds) * model.sample_rate)
    length = max(model.min_samples, clip)
    countable = sdpa_kernel(SDPBackend.MATH)  # of the fused attention on a CPU nothing is known
    with torch.no_grad(), countable, FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, length))
    return counter.get_total_flops() // 2 * int(num_chunks(samples, length)[0])


def row(name: str) -> dict[str, Any]:
    """Return a model's line of the table."""
    from zoo import create_model

    model = create_model(name)
    parts = (*model.frontend.parameters(), *model.backend.parameters())
    return {
        "model": name,
        "after": about("model", name),
        "parameters": f"{sum(p.numel() for p in parts):,}",
        f"million MACs, {SECONDS:g} s": f"{multiply_adds(model, SECONDS) / 1e6:,.0f}",
        "clip, s": f"{model.config.clip_seconds:.3g}",
        "shortest, s": f"{model.min_samples / model.sample_rate:.3g}",
        "front end": model.config.frontend,
        "fits": " or ".join(f"any {w}" if w in KINDS else w for w in model.backend.accepts),
    }


def page(markdown: bool) -> str:
    """Return the table of models and the lists of front ends, as text or as Markdown."""
    style = "pipe" if markdown else "simple"
    fronts = [
        {"front end": name, "kind": kind, "what": about("frontend", name)}
        for kind in KINDS
        for name in frontends(kind)
    ]
    models, ends = (
        pd.DataFrame(rows).to_markdown(index=False, tablefmt=style, disable_numparse=True)
        for rows in (map(row, choices("model")), fronts)
    )
    titles = ("# Models\n\n", "## Front ends\n\n") if markdown else ("", "")
    return f"{titles[0]}{models}\n\n{LEGEND}\n\n{titles[1]}{ends}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m zoo.models", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the page for the guide")
    options = parser.parse_args()
    print(page(options.markdown))


if __name__ == "__main__":
    guard(main)
