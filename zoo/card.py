"""The model card: what a run's result and scores say of its model, for the Hub and for people."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from zoo.datasets.base import encode_labels, units_of
from zoo.datasets.card import Card
from zoo.markdown import cell
from zoo.metrics import evaluate
from zoo.resampling import bootstrap_interval
from zoo.results import Result
from zoo.runners import About
from zoo.statistics import LEVEL, checkpoint_interval

SHOWN = {  # metrics with intervals, by whether there are several labels; the first one ranks
    False: ("accuracy", "balanced_accuracy", "macro_f1"),
    True: ("macro_average_precision", "macro_roc_auc", "macro_f1"),
}


class Scored(NamedTuple):
    """The test tracks of a run: `track`, `label`, `artist`, `group`, and their probabilities."""

    tracks: pd.DataFrame
    prob_BK: np.ndarray


def write_card(
    about: About,
    result: Result,
    test: Scored,
    name: str,
    base: str | None = None,
    exported: str | None = None,
    dataset: Card | None = None,
) -> str:
    """Return the text of the card of a model called `name` on the Hub.

    `base` is the checkpoint that training started from, `exported` the name of a file of
    `python -m zoo.export` beside the model, `dataset` what is known of a published data set.
    """
    parts = [
        _front_matter(about, result),
        f"# {about.model} on {about.frontend}",
        _summary(about, result, base),
        "## Use",
        _use(about, name, exported),
        "## Data",
        _data(result, test, dataset),
        "## Scores on the test tracks",
        _scores(about, result, test),
        "## Costs",
        _costs(result),
        "## Limits",
        _limits(about, result),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(about: About, result: Result) -> str:
    metric, dataset = result.primary, result.protocol.dataset
    value = {"type": metric, "name": f"test {metric}", "value": result.metrics["test"][metric]}
    measured = {
        "task": {"type": "audio-classification"},
        "dataset": {"type": dataset, "name": dataset, "split": "test"},
        "metrics": [value],
    }
    content: dict[str, Any] = {"license": about.licence} if about.licence else {}
    content |= {
        "library_name": "genre-zoo",
        "pipeline_tag": "audio-classification",
        "tags": ["music", "genre-classification", about.model, about.frontend],
        "model-index": [{"name": f"{about.model} on {about.frontend}", "results": [measured]}],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _summary(about: About, result: Result, base: str | None) -> str:
    what = "Gives tags to" if about.multilabel else "Recognises the genre of"
    text = (
        f"{what} music, in chunks of {about.clip_samples / about.sample_rate:g} s at "
        f"{about.sample_rate} Hz mono: {', '.join(map(cell, about.classes))}. Trained with Genre "
        f"Zoo on {cell(result.protocol.dataset)}"
    )
    if not base:
        return f"{text}, from random weights."
    licence = cell(about.licence) if about.licence else "which its authors do not state"
    return f"{text}, from the weights of {cell(base)} (licence: {licence})."


def _use(about: About, name: str, exported: str | None) -> str:
    lines = [
        "```python",
        "import zoo",
        "",
        f'model = zoo.load_model("{name}")',
        f"logits = model(waveform)  # [batch, samples] at {about.sample_rate} Hz in [-1, 1]",
        "```",
        "",
        "```sh",
        f"python -m zoo.predict {name} song.mp3",
    ]
    if exported:
        lines += [
            f"hf download {name} {exported} --local-dir .",
            f"python -m zoo.predict {exported} song.mp3",
        ]
    return "\n".join([*lines, "```"])


def _data(result: Result, test: Scored, dataset: Card | None) -> str:
    protocol, artists = result.protocol, len(set(test.tracks["artist"]) - {""})
    fold = "" if protocol.fold is None else f", fold {protocol.fold}"
    lines = [
        f"{cell(protocol.dataset)}, split {cell(protocol.split)}{fold}; the test has "
        f"{len(test.tracks)} tracks{f' by {artists} artists' if artists else ''}.",
    ]
    if result.left_out:
        lines.append(f"{result.left_out} tracks of the data set could not be used.")
    if dataset is not None:
        lines.append(
            f"The data set's licence: {cell(dataset.licence)}; cite {cell(dataset.citation)}."
        )
    return " ".join(lines)


def _scores(about: About, result: Result, test: Scored) -> str:
    rows = [
        (metric, f"{result.metrics['test'][metric]:.3f}", interval)
        for metric, interval in _intervals(about, result, test)
    ]
    metrics = pd.DataFrame(rows, columns=["metric", "value", f"{LEVEL:.0%} interval"])
    others = ", ".join(
        f"{name} {value:.3f}"
        for name, value in result.metrics["test"].items()
        if name not in SHOWN[about.multilabel]
    )
    units = len(set(units_of(test.tracks)))
    return (
        f"{metrics.to_markdown(index=False, disable_numparse=True)}\n\n"
        f"The intervals are those of this model over other tracks of the kind, from {units} "
        "independent units (artists, where they are known); another seed would vary it further. "
        f"Also: {others}.\n\n"
        f"{_by_class(about, test).to_markdown(index=False, floatfmt='.3f')}"
    )


def _intervals(about: About, result: Result, test: Scored) -> Iterator[tuple[str, str]]:
    """Yield each metric that is there, and the interval of it."""
    units_B = units_of(test.tracks).to_numpy(str)
    target = encode_labels(test.tracks["label"], about.classes, about.multilabel)
    thresholds = about.tag_thresholds if about.multilabel else None

    def of_rows(metric: str, rows: np.ndarray) -> float:
        prob_BK = test.prob_BK[rows]
        return evaluate(target[rows], prob_BK, about.multilabel, thresholds).get(metric, 0.0)

    for metric in SHOWN[about.multilabel]:
        if metric not in result.metrics["test"]:
            continue
        if len(set(units_B)) < 2:
            yield metric, "not known from one artist"
            continue
        if metric == "accuracy":
            right_B = (test.prob_BK.argmax(1) == target).astype(np.float64)
            interval = checkpoint_interval(right_B, units_B)
        else:
            interval = bootstrap_interval(partial(of_rows, metric), units_B)
        low, high = (min(1.0, max(0.0, end)) for end in (interval.low, interval.high))
        yield metric, f"{low:.3f} to {high:.3f}"


def _by_class(about: About, test: Scored) -> pd.DataFrame:
    """Return the number of test tracks of each class, and its F1."""
    target = encode_labels(test.tracks["label"], about.classes, about.multilabel)
    count = len(about.classes)
    if about.multilabel:
        true_BK, said_BK = target == 1, test.prob_BK >= about.tag_thresholds
    else:
        true_BK, said_BK = np.eye(count)[target] == 1, np.eye(count)[test.prob_BK.argmax(1)] == 1
    hits_K, both_K = (true_BK & said_BK).sum(0), true_BK.sum(0) + said_BK.sum(0)
    names = [cell(name) for name in about.classes]
    f1_K = 2 * hits_K / np.maximum(both_K, 1)
    return pd.DataFrame({"class": names, "test tracks": true_BK.sum(0), "F1": f1_K})


def _costs(result: Result) -> str:
    costs, hardware = result.costs, result.hardware
    return (
        f"{costs.parameters:,} parameters, {costs.trainable_parameters:,} of them trained in "
        f"{costs.train_seconds:.0f} s ({costs.epochs:g} epochs, {costs.clips_per_second:.0f} clips "
        f"a second) on {cell(hardware.device)}, {cell(hardware.processor)}, in {result.precision}; "
        f"at most {costs.peak_memory_bytes / 1e9:.2f} GB of memory."
    )


def _limits(about: About, result: Result) -> str:
    lines = [
        "It knows the classes above and no others: music of any other kind is given one of them."
        if not about.multilabel
        else "It knows the tags above and no others.",
        f"Measured on {cell(result.protocol.dataset)} alone, with seed {result.seed} alone: how it "
        "does on music of other data sets, countries or times, on speech, noise or recordings of "
        "poor quality was not measured.",
        _of_calibration(about),
        *_warnings(result),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _of_calibration(about: About) -> str:
    if about.calibrated is None:
        return "Its probabilities are not calibrated."
    return (
        f"Its probabilities are calibrated (temperature {about.calibrated.temperature:.3g}) on "
        f"{about.calibrated.num_tracks} validation tracks; on other music they may be too high."
    )


def _warnings(result: Result) -> Iterator[str]:
    if result.audit is None:
        yield "Whether tracks of the test are also in training was not audited."
        return
    for warning in result.audit.warnings:
        yield (
            f"The audit warns ({cell(warning.kind)}): {cell(warning.sentence)}, which affects "
            f"{warning.affected} of {result.audit.test_tracks} test tracks."
        )
