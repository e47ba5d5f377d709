"""Calibration against scikit-learn and scipy; the summary of stored scores; its picture."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from benchmarks.calibration import (
    Decisions,
    calibration_error,
    decisions,
    draw,
    if_honest,
    losses,
)
from benchmarks.summaries.calibration import summarize
from zoo.calibration import fit_temperature, with_temperature
from zoo.errors import InputError
from zoo.metrics import expected_calibration_error, single_label
from zoo.results import SCORES

RNG = np.random.default_rng(0)
CLASSES = ["funk", "jazz", "polka", "rock"]


def softmax(z_BK: np.ndarray) -> np.ndarray:
    odds_BK = np.exp(z_BK - z_BK.max(1, keepdims=True))
    return odds_BK / odds_BK.sum(1, keepdims=True)


def scores(num: int, sharpness: float = 3.0, multilabel: bool = False) -> tuple[np.ndarray, ...]:
    """Targets that come true as honest probabilities say, and what a network says of which the
    logits are so many times too large."""
    z_BK = 1.5 * RNG.standard_normal((num, len(CLASSES)))
    if multilabel:
        target = (RNG.random(z_BK.shape) < 1 / (1 + np.exp(-z_BK))).astype(np.int64)
        return target, 1 / (1 + np.exp(-sharpness * z_BK))
    target = (softmax(z_BK).cumsum(1) < RNG.random((num, 1))).sum(1).clip(0, len(CLASSES) - 1)
    return target, softmax(sharpness * z_BK)


# --- temperature


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_that_of_scipy(sharpness: float, multilabel: bool) -> None:
    target, prob = scores(800, sharpness, multilabel)

    def loss(log_t: float) -> float:
        calibrated = with_temperature(prob, np.exp(log_t), multilabel)
        if multilabel:
            return log_loss(target.ravel(), calibrated.ravel())
        return log_loss(target, calibrated, labels=range(len(CLASSES)))

    best = np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
    ours = fit_temperature(target, prob)
    assert ours == pytest.approx(best, rel=1e-3)
    assert ours == pytest.approx(sharpness, rel=0.2)  # what had been done to the logits


def test_a_temperature_of_one_changes_nothing_and_none_changes_the_order() -> None:
    for multilabel in (False, True):
        _, prob = scores(50, multilabel=multilabel)
        np.testing.assert_allclose(with_temperature(prob, 1.0, multilabel), prob, atol=1e-9)
        warm = with_temperature(prob, 2.5, multilabel)
        np.testing.assert_array_equal(np.argsort(warm, 1), np.argsort(prob, 1))


def test_temperatures_at_the_ends() -> None:
    assert fit_temperature(np.array([0, 1]), np.array([[0.6, 0.4], [0.3, 0.7]])) == pytest.approx(
        0.01
    )
    assert fit_temperature(np.array([1, 0]), np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(
        100
    )


# --- figures


def test_losses_are_those_of_scikit_learn() -> None:
    target, prob = scores(300)
    ours = {name: values.mean() for name, values in losses(target, prob).items()}
    assert ours["log_loss"] == pytest.approx(log_loss(target, prob, labels=range(4)))
    assert ours == pytest.approx({k: single_label(target, prob)[k] for k in ours})
    target, prob = scores(300, multilabel=True)
    ours = {name: values.mean() for name, values in losses(target, prob).items()}
    assert ours["brier"] == pytest.approx(brier_score_loss(target.ravel(), prob.ravel()))
    assert ours["log_loss"] == pytest.approx(log_loss(target.ravel(), prob.ravel()))


def test_losses_of_impossible_truths_are_finite() -> None:
    certain = np.array([[1.0, 0.0]])
    assert np.isfinite(losses(np.array([1]), certain)["log_loss"]).all()
    assert np.isfinite(losses(np.array([[0, 1]]), certain)["log_loss"]).all()
    assert np.isfinite(with_temperature(certain, 0.01, True)).all()


def test_decisions_are_what_accuracy_is_of() -> None:
    target, prob = scores(40)
    assert decisions(target, prob).correct.mean() == single_label(target, prob)["accuracy"]
    made = decisions(np.array([[1, 0]]), np.array([[0.9, 0.6]]))
    assert made.confidence.tolist() == [0.9, 0.6] and made.correct.tolist() == [True, False]
    assert made.row.tolist() == [0, 0]


def draw_decisions(num: int, too_sure: float, per_unit: int = 1) -> tuple[Decisions, np.ndarray]:
    confidence = RNG.beta(5, 2, num)
    correct = RNG.random(num) < confidence - too_sure
    return Decisions(confidence, correct, np.arange(num)), np.arange(num) // per_unit


def test_the_calibration_error_is_the_metric_and_what_scikit_learn_bins_give() -> None:
    made, units = draw_decisions(300, 0.1)
    error = calibration_error(made, units)
    assert error.value == pytest.approx(expected_calibration_error(made.correct, made.confidence))
    right, sure = calibration_curve(made.correct, made.confidence, n_bins=15, strategy="quantile")
    assert error.value == pytest.approx(abs(right - sure).mean())  # 20 tracks in each bin
    assert error.low <= error.value <= error.high


@pytest.mark.parametrize(("too_sure", "truth"), [(0.0, 0.0), (0.1, 0.1), (0.2, 0.2)])
def test_the_interval_holds_the_true_error(too_sure: float, truth: float) -> None:
    errors = [calibration_error(*draw_decisions(200, too_sure, per_unit=4)) for _ in range(60)]
    held = [error.low <= truth + 0.002 and truth - 0.002 <= error.high for error in errors]
    assert np.mean(held) >= 0.93
    assert np.mean([error.value for error in errors]) > truth  # noise makes it too high


def test_much_dishonesty_is_told_from_chance() -> None:
    made, units = draw_decisions(1000, 0.3)
    error, honest = calibration_error(made, units), if_honest(made.confidence)
    assert error.low > 0.1 and error.low > honest.high
    assert calibration_error(made, np.zeros(1000))[1:] == (0, 1)  # all by one artist


def test_an_honest_network_errs_as_simulated() -> None:
    confidence = draw_decisions(150, 0)[0].confidence
    honest = if_honest(confidence)
    errors = [
        expected_calibration_error(RNG.random(150) < confidence, confidence) for _ in range(400)
    ]
    assert honest.value == pytest.approx(np.mean(errors), abs=0.005)
    assert 0.9 < np.mean([honest.low <= error <= honest.high for error in errors]) < 0.99


# --- summary


def stored(folder: Path, num_test: int, multilabel: bool = False) -> Any:
    """Write scores of both splits, three tracks an artist; return what the summary takes."""
    for split, num in (("validation", 200), ("test", num_test)):
        target, prob = scores(num, multilabel=multilabel)
        hot = target if multilabel else np.eye(len(CLASSES), dtype=int)[target]
        tracks = pd.DataFrame(
            {
                "track": [f"{split}{i}" for i in range(num)],
                "label": ["|".join(np.array(CLASSES)[row == 1]) for row in hot],
                "artist": [f"artist{i // 3}" for i in range(num)],
                "group": "",
            }
        )
        probabilities = pd.DataFrame(prob.astype(np.float32), columns=[f"p:{c}" for c in CLASSES])
        pd.concat([tracks, probabilities], axis=1).to_parquet(folder / SCORES[split])
    return SimpleNamespace(protocol=SimpleNamespace(classes=CLASSES, multilabel=multilabel))


@pytest.mark.parametrize("multilabel", [False, True])
def test_the_summary(tmp_path: Path, multilabel: bool) -> None:
    table = summarize(tmp_path, stored(tmp_path, 150, multilabel))
    value = table.set_index(["what", "figure"])["value"]
    assert value["after", "temperature"] == pytest.approx(3, rel=0.25)
    for name in ("brier", "log_loss", "ece"):
        assert value["after", name] < value["before", name]
    assert (table["what"].value_counts() == [2 * 2 + 15 + 10 + 1, 2 * 2 + 15 + 10]).all()
    assert set(table.loc[table["leads"], "figure"]) == {"brier", "log_loss"}
    assert table["leads"].tolist() == sorted(table["leads"], reverse=True)
    bounded = table[table["figure"] != "temperature"]
    assert (bounded["low"] <= bounded["value"]).all()
    assert (bounded["value"] <= bounded["high"] + 1e-9).all()
    coverage = table[(table["figure"] == "coverage") & (table["what"] == "before")]
    np.testing.assert_allclose(coverage["at"], np.arange(1, 11) / 10)
    assert coverage["value"].iloc[0] > coverage["value"].iloc[-1]  # it knows what it knows
    assert coverage["num_tracks"].iloc[-1] == 150


def test_the_summary_of_one_label_agrees_with_the_metrics(tmp_path: Path) -> None:
    result = stored(tmp_path, 510)
    table = summarize(tmp_path, result).set_index(["what", "figure"]).sort_index()
    scored = pd.read_parquet(tmp_path / SCORES["test"])
    target = scored["label"].map(CLASSES.index).to_numpy()
    prob = scored[[f"p:{name}" for name in CLASSES]].to_numpy()
    metrics = single_label(target, prob)
    for name in ("brier", "log_loss", "ece"):
        assert table.loc[("before", name), "value"].item() == pytest.approx(metrics[name])
    assert table.loc[("before", "coverage"), "value"].iloc[-1] == metrics["accuracy"]
    right, sure = calibration_curve(
        prob.argmax(1) == target, prob.max(1), n_bins=15, strategy="quantile"
    )
    bins = table.loc[("before", "reliability")]
    np.testing.assert_allclose(bins["at"], sure)
    np.testing.assert_allclose(bins["value"], right)
    assert set(table.index[table["leads"]].get_level_values(1)) == {"ece", "ece_if_honest"}


def test_the_picture(tmp_path: Path) -> None:
    table = summarize(tmp_path, stored(tmp_path, 60))
    draw(tmp_path / "calibration.png", table, "a network on 60 tracks")
    pixels = matplotlib.image.imread(tmp_path / "calibration.png")
    assert pixels.shape[:2] == (552, 1200) and len(np.unique(pixels[..., 0])) > 20
    with pytest.raises(InputError, match="no reliability"):
        draw(tmp_path / "none.png", table[table["figure"] == "brier"], "")
