"""Weights of 8 bits, and what they cost: a run's own metric on its own test tracks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zoo.chunks import EVALUATIONS
from zoo.errors import InputError
from zoo.exporting import Exported
from zoo.exporting_onnx import QUANTISED, OnnxDraft
from zoo.metrics import evaluate
from zoo.opened import Opened, open_run
from zoo.results import FILE
from zoo.runners import About, Outputs

BATCH = 16  # chunks
Compute = Callable[[np.ndarray], Outputs]
"""From int16 clips `[B,T]` to what a model says of them."""


def quantise(exported: Exported) -> Exported:
    """Return it with weights of 8 bits."""
    assert isinstance(exported.draft, OnnxDraft)
    draft = exported.draft.quantised()
    if not draft.kinds:
        name = exported.about.model
        raise InputError(f"--int8: model={name} has no layer of {', '.join(QUANTISED)} to round.")
    about = replace(exported.about, weights=f"{exported.about.weights}-int8")
    return replace(exported, draft=draft, about=about, is_rounded=True)


def score(run: Opened, about: About, compute: Compute) -> float:
    """Return the run's primary metric on its test tracks."""
    data, length = run.data, about.clip_samples
    rows = data.rows("test")
    tracks, starts = EVALUATIONS[run.config.evaluation](data.store.lengths[rows], length)
    total_BK, batches = np.zeros((len(rows), len(about.classes))), range(0, len(tracks), BATCH)
    for start in tqdm(batches, "scoring", leave=False, disable=None):
        batch = slice(start, start + BATCH)
        samples = data.store.gather(rows[tracks[batch]], starts[batch], length)
        np.add.at(total_BK, tracks[batch], compute(samples).prob_BK.astype(np.float64))
    mean_BK = total_BK / np.bincount(tracks, minlength=len(rows))[:, None]
    target = data.manifest.split("test").targets()
    thresholds = about.tag_thresholds if about.multilabel else None
    return evaluate(target, mean_BK, about.multilabel, thresholds)[run.result.primary]


def loss(run: Opened, before: Exported, after: Exported) -> str:
    """Return what rounding the weights costs, as a sentence."""
    assert isinstance(before.draft, OnnxDraft) and isinstance(after.draft, OnnxDraft)
    drafts = before.draft, after.draft
    scores = [score(run, after.about, draft.run) for draft in drafts]
    sizes = [draft.size / 1e6 for draft in drafts]
    return (
        f"int8: {run.result.primary} on {len(run.data.rows('test'))} test tracks "
        f"{scores[0]:.4f} in float32, {scores[1]:.4f} in int8 ({scores[1] - scores[0]:+.4f}); "
        f"{sizes[0]:.2f} MB and {sizes[1]:.2f} MB; with 8 bits: "
        f"{drafts[1].kinds}"
    )


def run_with_data(name: str) -> Opened:
    """Return the run of that name with its data set. Raises `InputError` where one is missing."""
    folder = Path(name).expanduser()
    try:
        if not (folder / FILE).is_file():
            raise InputError(f"{name} is no run: it has no {FILE}.")
        run = open_run(folder)
        assert run.data
    except InputError as error:
        raise InputError(
            f"--int8 measures what it costs on the test tracks of a run, but "
            f"{str(error).rstrip('.')}."
        ) from error
    return run
