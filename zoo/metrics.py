"""Metrics of one set of predictions: how right, how well ranked and how honest they are.

Pure functions of numpy arrays, computed in float64. B is tracks, K is classes (or tags). Every
function raises ValueError for an empty input, shapes that do not match, targets that are no class
and NaN. Values agree with scikit-learn's functions of the same name unless a docstring says more.
"""

from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]

PRIMARY = {False: "accuracy", True: "macro_average_precision"}
"""The metric that ranks models, by whether the task is multi-label."""

NUM_CALIBRATION_BINS = 15
PROBABILITY_ROUNDING = 1e-6  # a float32 probability may leave 0..1 by this much
ROW_SUM_ROUNDING = 1e-2  # half-precision softmax rows may miss a sum of 1 by this much


def evaluate(
    target: np.ndarray, prob: np.ndarray, multilabel: bool, thresholds: np.ndarray | None = None
) -> dict[str, float]:
    """Return `multi_label`'s or `single_label`'s metrics; only multi-label takes thresholds."""
    if multilabel:
        return multi_label(target, prob, thresholds)
    if thresholds is not None:
        raise ValueError("thresholds belong to multi-label tasks, but this task has one label")
    return single_label(target, prob)


def single_label(target_B: np.ndarray, prob_BK: np.ndarray) -> dict[str, float]:
    """Return the metrics of predictions of one class index per track; rows of `prob_BK` sum to 1.

    - accuracy, top3_accuracy: between equal probabilities the lower class index goes first.
    - balanced_accuracy: mean recall of the classes present in the target.
    - macro_f1: over the classes present in the target or among the predictions.
    - log_loss: in nats; probabilities are clipped at float64's eps, then rows are renormalised.
    - brier: squared error summed over classes, mean over tracks, 0..2.
    - macro_roc_auc: one class versus the rest, over the classes with both positive and negative
      tracks; the key is missing where there is no such class.
    - ece: see `expected_calibration_error`.
    """
    prob_BK = _probabilities(prob_BK)
    num_tracks, num_classes = prob_BK.shape
    target_B = _class_indices(target_B, num_tracks, num_classes)
    if np.abs(prob_BK.sum(1) - 1).max() > ROW_SUM_ROUNDING:
        raise ValueError("the probabilities of a single-label track must sum to 1")
    ranking_BK = np.argsort(-prob_BK, axis=1, kind="stable")
    correct_B = ranking_BK[:, 0] == target_B
    counts_KK = confusion(target_B, ranking_BK[:, 0], num_classes)
    true_K, predicted_K, hits_K = counts_KK.sum(1), counts_KK.sum(0), counts_KK.diagonal()
    one_hot_BK = np.eye(num_classes)[target_B]
    metrics = {
        "accuracy": correct_B.mean(),
        "balanced_accuracy": (hits_K[true_K > 0] / true_K[true_K > 0]).mean(),
        "macro_f1": _f1(hits_K, true_K, predicted_K)[true_K + predicted_K > 0].mean(),
        "top3_accuracy": (ranking_BK[:, :3] == target_B[:, None]).any(1).mean(),
        "log_loss": _log_loss(target_B, prob_BK),
        "brier": np.square(prob_BK - one_hot_BK).sum(1).mean(),
        "ece": expected_calibration_error(correct_B, prob_BK.max(1)),
    }
    counted_K = (true_K > 0) & (true_K < num_tracks)
    if counted_K.any():
        metrics["macro_roc_auc"] = _per_tag(roc_auc, one_hot_BK, prob_BK, counted_K).mean()
    return {name: float(value) for name, value in metrics.items()}


def multi_label(
    target_BK: np.ndarray, prob_BK: np.ndarray, thresholds_K: np.ndarray | None = None
) -> dict[str, float]:
    """Return the metrics of predictions of any number of tags per track; targets are 0 or 1.

    A tag counts when it has at least one positive and at least one negative track. Macro and
    weighted (by positives) metrics are means over the tags that count, and num_tags_excluded says
    how many do not; micro metrics pool every track and tag. A ranking metric without anything to
    rank (no tag counts; for micro, all targets are equal) is missing from the result. F1 is
    measured where `prob_BK >= thresholds_K`, 0.5 for every tag when None.
    """
    prob_BK = _probabilities(prob_BK)
    num_tracks, num_tags = prob_BK.shape
    target_BK = _binary(target_BK, prob_BK.shape)
    thresholds_K = np.asarray(np.full(num_tags, 0.5) if thresholds_K is None else thresholds_K)
    if thresholds_K.shape != (num_tags,) or np.isnan(thresholds_K).any():
        raise ValueError(f"thresholds must be {num_tags} numbers, one for each tag")
    predicted_BK = prob_BK >= thresholds_K
    true_K, predicted_K = target_BK.sum(0), predicted_BK.sum(0)
    hits_K = (target_BK & predicted_BK).sum(0)
    counted_K = (true_K > 0) & (true_K < num_tracks)
    metrics = {
        "micro_f1": _f1(hits_K.sum(), true_K.sum(), predicted_K.sum()),
        "num_tags_excluded": (~counted_K).sum(),
    }
    if counted_K.any():
        metrics["macro_f1"] = _f1(hits_K, true_K, predicted_K)[counted_K].mean()
    for metric in (roc_auc, average_precision):
        name = metric.__name__
        if target_BK.any() and not target_BK.all():
            metrics[f"micro_{name}"] = metric(target_BK.ravel(), prob_BK.ravel())
        if counted_K.any():
            values = _per_tag(metric, target_BK, prob_BK, counted_K)
            metrics[f"macro_{name}"] = values.mean()
            metrics[f"weighted_{name}"] = np.average(values, weights=true_K[counted_K])
    return {name: float(value) for name, value in metrics.items()}


def best_thresholds(target_BK: np.ndarray, prob_BK: np.ndarray) -> np.ndarray:
    """Return for each tag the threshold with the best F1 of `prob >= threshold`, float64 [K].

    It is one of the tag's probabilities, the highest among equally good ones; 0.5 for a tag
    without positives.
    """
    prob_BK = _probabilities(prob_BK)
    target_BK = _binary(target_BK, prob_BK.shape)
    thresholds_K = np.full(prob_BK.shape[1], 0.5)
    for k in np.flatnonzero(target_BK.any(0)):
        threshold_N, hits_N, predicted_N = _sweep(target_BK[:, k], prob_BK[:, k])
        thresholds_K[k] = threshold_N[_f1(hits_N, hits_N[-1], predicted_N).argmax()]
    return thresholds_K


def roc_auc(target_B: np.ndarray, score_B: np.ndarray) -> float:
    """Return the share of pairs of a positive and a negative track whose positive scores higher.

    A tie counts half. ValueError when the targets (0 or 1) are all equal.
    """
    _, hits_N, predicted_N = _sweep(target_B, score_B)
    false_alarms_N = predicted_N - hits_N
    num_pairs = hits_N[-1] * false_alarms_N[-1]
    if num_pairs == 0:
        raise ValueError("ROC AUC needs at least one positive and at least one negative target")
    return float(np.trapezoid(np.append(0, hits_N), np.append(0, false_alarms_N)) / num_pairs)


def average_precision(target_B: np.ndarray, score_B: np.ndarray) -> float:
    """Return the sum of (recall step x precision) over the distinct scores, not interpolated.

    ValueError when no target (0 or 1) is positive.
    """
    _, hits_N, predicted_N = _sweep(target_B, score_B)
    if hits_N[-1] == 0:
        raise ValueError("average precision needs at least one positive target")
    return float(np.sum(np.diff(hits_N, prepend=0) / hits_N[-1] * hits_N / predicted_N))


def expected_calibration_error(correct_B: np.ndarray, confidence_B: np.ndarray) -> float:
    """Return the mean over tracks of the gap |accuracy - confidence| of the track's bin, 0..1, in
    the bins of `calibration_bins`."""
    confidence_B = np.asarray(confidence_B, dtype=np.float64)
    correct_B = _binary(correct_B, confidence_B.shape)
    _reject_nan(confidence_B)
    gap_B = correct_B - confidence_B
    return float(
        sum(abs(gap_B[rows].sum()) for rows in calibration_bins(confidence_B)) / len(gap_B)
    )


def calibration_bins(confidence_B: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each bin: the tracks, sorted by confidence (stable), are cut into
    `NUM_CALIBRATION_BINS` bins of equal numbers of tracks, empty ones where there are fewer."""
    return np.array_split(np.argsort(confidence_B, kind="stable"), NUM_CALIBRATION_BINS)


def confusion(target_B: np.ndarray, prediction_B: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the number of tracks by true class (row) and predicted (column), int64 [K, K]."""
    target_B = _class_indices(target_B, len(prediction_B), num_classes)
    prediction_B = _class_indices(prediction_B, len(target_B), num_classes)
    cells = np.bincount(target_B * num_classes + prediction_B, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def pair_accuracy(target_B: np.ndarray, prob_BK: np.ndarray) -> np.ndarray:
    """Return how well each pair of classes is told apart when only the two are asked for, [K, K].

    Entry (a, b): the share of class a's tracks to which a is more probable than b, and of class
    b's with b more probable than a, averaged; a tie counts half. Symmetric; NaN on the diagonal
    and where a class has no tracks.
    """
    prob_BK = _probabilities(prob_BK)
    num_tracks, num_classes = prob_BK.shape
    target_B = _class_indices(target_B, num_tracks, num_classes)
    share_KK = np.full((num_classes, num_classes), np.nan)
    for k in np.unique(target_B):
        own_BK = prob_BK[target_B == k]
        share_KK[k] = (np.sign(own_BK[:, [k]] - own_BK).mean(0) + 1) / 2
    np.fill_diagonal(share_KK, np.nan)
    return (share_KK + share_KK.T) / 2


def _f1(hits: np.ndarray, num_true: np.ndarray, num_predicted: np.ndarray) -> np.ndarray:
    """Return F1 elementwise, 0 where nothing is true or predicted."""
    return 2 * hits / np.maximum(num_true + num_predicted, 1)


def _log_loss(target_B: np.ndarray, prob_BK: np.ndarray) -> float:
    eps = np.finfo(np.float64).eps
    prob_BK = prob_BK.clip(eps, 1 - eps)
    prob_BK /= prob_BK.sum(1, keepdims=True)
    return float(-np.log(prob_BK[np.arange(len(target_B)), target_B]).mean())


def _per_tag(
    metric: Metric, target_BK: np.ndarray, score_BK: np.ndarray, counted_K: np.ndarray
) -> np.ndarray:
    """Return the metric of each tag that counts."""
    return np.array([metric(target_BK[:, k], score_BK[:, k]) for k in np.flatnonzero(counted_K)])


def _sweep(target_B: np.ndarray, score_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the N distinct scores, highest first, and how many positives and tracks reach each."""
    score_B = np.asarray(score_B, dtype=np.float64)
    target_B = _binary(target_B, score_B.shape)
    _reject_nan(score_B)
    score_N, group_B = np.unique(score_B, return_inverse=True)
    hits_N = np.bincount(group_B, weights=target_B)[::-1].cumsum()
    return score_N[::-1], hits_N, np.bincount(group_B)[::-1].cumsum()


def _probabilities(prob_BK: np.ndarray) -> np.ndarray:
    prob_BK = np.asarray(prob_BK, dtype=np.float64)
    if prob_BK.ndim != 2 or prob_BK.size == 0:
        raise ValueError(
            f"probabilities must be [tracks, classes] with at least one of each, "
            f"not of shape {prob_BK.shape}"
        )
    _reject_nan(prob_BK)
    if prob_BK.min() < -PROBABILITY_ROUNDING or prob_BK.max() > 1 + PROBABILITY_ROUNDING:
        raise ValueError("probabilities must lie between 0 and 1")
    return prob_BK


def _class_indices(index_B: np.ndarray, num_tracks: int, num_classes: int) -> np.ndarray:
    index_B = np.asarray(index_B)
    if index_B.size == 0:
        raise ValueError("metrics need at least one track")
    if index_B.shape != (num_tracks,):
        raise ValueError(f"class indices must have shape ({num_tracks},), not {index_B.shape}")
    if not np.issubdtype(index_B.dtype, np.integer):
        raise ValueError(f"class indices must be integers, not {index_B.dtype}")
    if index_B.min() < 0 or index_B.max() >= num_classes:
        raise ValueError(f"class indices must lie between 0 and {num_classes - 1}")
    return index_B.astype(np.int64)


def _binary(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    target = np.asarray(target)
    if target.size == 0:
        raise ValueError("metrics need at least one track")
    if target.shape != shape:
        raise ValueError(f"targets must have the predictions' shape {shape}, not {target.shape}")
    if not np.isin(target, (0, 1)).all():
        raise ValueError("targets must be 0 or 1")
    return target.astype(bool)


def _reject_nan(score: np.ndarray) -> None:
    if np.isnan(score).any():
        raise ValueError("predictions must not be NaN")
