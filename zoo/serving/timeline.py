"""Genres over time above the mel spectrogram, as HTML that is legible at any width."""

import numpy as np
from markupsafe import Markup

from zoo.over_time import clock, runs, tick
from zoo.serving.schema import OverTime
from zoo.serving.spectrogram import mel_decibels, picture

MOST_SHOWN = 8  # classes with a colour of their own
COLORS = (  # Okabe and Ito 2008, "Color Universal Design": told apart with any colour vision
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#444444",
)
OTHERS = "#bbbbbb"
HEIGHT = 100  # units of the drawing: percent


def timeline(said: OverTime, multilabel: bool, samples_T: np.ndarray, sample_rate: int) -> Markup:
    """Return the figure for what a model says over time of int16 samples."""
    names, prob_NK = _shown(said, multilabel)
    curves = _lines(prob_NK, names) if multilabel else _layers(prob_NK, names)
    return Markup(
        '<figure class="timeline"><div class="plot">'
        '<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '{curves}</svg><img alt="Mel spectrogram: time from left to right, low tones below" '
        'src="{spectrogram}"><div class="cursor" hidden></div></div>'
        '<div class="ticks" aria-hidden="true">{ticks}</div>'
        '<ul class="legend">{legend}</ul></figure>'
    ).format(
        width=len(prob_NK),
        label=_in_words(said),
        curves=curves,
        spectrogram=picture(mel_decibels(samples_T, sample_rate)),
        ticks=_ticks(said.seconds),
        legend=_legend(names, prob_NK.mean(0)),
    )


def _shown(said: OverTime, multilabel: bool) -> tuple[list[str], np.ndarray]:
    """Return the names and probabilities that are drawn, the most probable first."""
    classes = list(said.steps[0].probabilities)
    prob_NK = np.array([[step.probabilities[name] for name in classes] for step in said.steps])
    order = np.argsort(-prob_NK.mean(0), kind="stable")[:MOST_SHOWN]
    names, shown_NK = [classes[k] for k in order], prob_NK[:, order]
    if len(classes) > len(order) and not multilabel:
        rest_N1 = 1 - shown_NK.sum(1, keepdims=True)
        names, shown_NK = [*names, "others"], np.hstack([shown_NK, rest_N1])
    return names, shown_NK


def _layers(prob_NK: np.ndarray, names: list[str]) -> Markup:
    """Return the probabilities stacked, in steps: the first name at the bottom."""
    top_NK = np.cumsum(prob_NK, 1)
    bottom_NK = top_NK - prob_NK
    shapes = [
        Markup('<path fill="{}" d="M{}L{}Z"><title>{}</title></path>').format(
            _color(k), _points(top_NK[:, k]), _points(bottom_NK[:, k], back=True), name
        )
        for k, name in enumerate(names)
    ]
    return Markup("").join(shapes)


def _lines(prob_NK: np.ndarray, names: list[str]) -> Markup:
    """Return the probabilities as lines, in steps."""
    line = Markup(
        '<path fill="none" stroke="{}" stroke-width="2" vector-effect="non-scaling-stroke" '
        'd="M{}"><title>{}</title></path>'
    )
    shapes = [line.format(_color(k), _points(prob_NK[:, k]), n) for k, n in enumerate(names)]
    return Markup("").join(shapes)


def _points(height_N: np.ndarray, back: bool = False) -> str:
    """Return the corners of a staircase, from left to right or back."""
    y = [round(HEIGHT * (1 - value), 2) for value in height_N.tolist()]
    corners = [f"{x} {level}" for i, level in enumerate(y) for x in (i, i + 1)]
    return " ".join(corners[::-1] if back else corners)


def _color(k: int) -> str:
    return COLORS[k] if k < MOST_SHOWN else OTHERS


def _ticks(seconds: float) -> Markup:
    marks = np.arange(0, seconds * 0.97, tick(int(np.ceil(seconds))))
    mark = Markup('<span style="left:{:.2f}%">{}</span>')
    return Markup("").join(mark.format(100 * at / seconds, clock(at)) for at in marks)


def _legend(names: list[str], mean_K: np.ndarray) -> Markup:
    item = Markup('<li><i style="background:{}"></i>{} {:.0%}</li>')
    return Markup("").join(item.format(_color(k), n, mean_K[k]) for k, n in enumerate(names))


def _in_words(said: OverTime) -> str:
    """Return what is drawn for who cannot see it."""
    genres = [step.genre or "nothing sure" for step in said.steps]
    parts = runs(genres, np.array([step.probability for step in said.steps]))
    step = said.step_seconds
    spans = [f"{run.genre} from {clock(step * run.start)}" for run in parts]
    return f"Genre over time: {', '.join(spans)}, to {clock(said.seconds)}"
