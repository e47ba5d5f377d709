"""From what is heard and found to the answers of the API, which the page shows as well."""

from pathlib import PurePath

import numpy as np

from zoo.inference import Heard
from zoo.serving.schema import Classified, Model, Neighbour, OverTime, Said, Step
from zoo.serving.service import Served
from zoo.serving.shelf import Found


def said(model: Served, prob_K: np.ndarray) -> Said:
    """Return what a model says with calibrated probabilities."""
    classes, answer = model.runner.about.classes, model.answers.answer(prob_K)
    order = np.argsort(-prob_K, kind="stable")
    probabilities = {classes[k]: float(prob_K[k]) for k in order}
    return Said(**answer._asdict(), probabilities=probabilities)


def classified(model: Served, heard: Heard) -> Classified:
    """Return what a model says of a track."""
    answer = said(model, heard.prob_K).model_dump()
    return Classified(model=model.name, seconds=heard.seconds, **answer)


def in_steps(model: Served, heard: Heard, step: int) -> OverTime:
    """Return what a model says of each `step` seconds of a track."""
    rows = model.runner.about.calibrate(heard.chunk_prob_NK)
    steps = [
        Step(start=step * number, **said(model, prob_K).model_dump())
        for number, prob_K in enumerate(rows)
    ]
    return OverTime(model=model.name, seconds=heard.seconds, step_seconds=step, steps=steps)


def neighbour(found: Found) -> Neighbour:
    """Return what there is to know of a track of the library; not where its file lies."""
    content = {"track": found.row, "name": PurePath(found.path).name, **found._asdict()}
    return Neighbour.model_validate(content)


def described(model: Served) -> Model:
    """Return what there is to know of a model."""
    about = model.runner.about
    return Model(
        name=model.name,
        architecture=f"{about.model} on {about.frontend}",
        weights=about.weights,
        classes=list(about.classes),
        multilabel=about.multilabel,
        calibrated=about.calibrated is not None,
        sample_rate=about.sample_rate,
        clip_seconds=about.clip_samples / about.sample_rate,
        licence=about.licence,
    )
