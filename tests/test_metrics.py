"""Metrics against scikit-learn, plain loops and a published model's results."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.preprocessing import label_binarize

from zoo import metrics

PEERS = Path(__file__).parents[2] / "shared" / "peers" / "metrics"
RANKINGS = {"roc_auc": sk.roc_auc_score, "average_precision": sk.average_precision_score}


def single_case(num_classes, ties, missing, num_tracks=200):
    """Random predictions; `missing` leaves the last class without tracks."""
    rng = np.random.default_rng(num_classes)
    target = rng.integers(num_classes - missing, size=num_tracks)
    shape = (num_tracks, num_classes)
    weight = rng.integers(1, 4, shape) if ties else rng.uniform(1, 3, shape)
    weight[np.arange(num_tracks), target] += rng.integers(2, size=num_tracks)
    return target, weight / weight.sum(1, keepdims=True)


def multi_case(num_tags, ties, num_tracks=150):
    """Random tags; from three tags on, the first has no positives and the second no negatives."""
    rng = np.random.default_rng(num_tags)
    target = (rng.random((num_tracks, num_tags)) < rng.uniform(0.1, 0.6, num_tags)).astype(np.uint8)
    if num_tags > 2:
        target[:, 0], target[:, 1] = 0, 1
    prob = np.clip(rng.random(target.shape) * 0.7 + 0.3 * target, 0, 1)
    return target, np.round(prob, 1) if ties else prob


def ece_by_loop(correct, confidence, num_bins):
    tracks = sorted(range(len(correct)), key=lambda i: confidence[i])
    smallest, num_larger = divmod(len(tracks), num_bins)
    error = 0.0
    for b in range(num_bins):
        size = smallest + (b < num_larger)
        members, tracks = tracks[:size], tracks[size:]
        if members:
            accuracy = sum(bool(correct[i]) for i in members) / size
            error += size * abs(accuracy - sum(confidence[i] for i in members) / size)
    assert not tracks
    return error / len(correct)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_classes", [2, 3, 30])
def test_single_label_agrees_with_sklearn(num_classes, ties, missing):
    target, prob = single_case(num_classes, ties, missing)
    labels, predicted = range(num_classes), prob.argmax(1)
    one_hot = np.array([[float(k == t) for k in labels] for t in target])
    present = [k for k in labels if 0 < (target == k).sum() < len(target)]
    recalls = [(predicted[target == k] == k).mean() for k in np.unique(target)]
    expected = {
        "accuracy": sk.accuracy_score(target, predicted),
        "balanced_accuracy": np.mean(recalls),
        "macro_f1": sk.f1_score(target, predicted, average="macro", zero_division=0),
        "top3_accuracy": 1.0,
        "log_loss": sk.log_loss(target, prob, labels=labels),
        "brier": ((prob - one_hot) ** 2).sum(1).mean(),
        "ece": ece_by_loop(predicted == target, prob.max(1), 15),
    }
    if num_classes > 3:  # of equal scores, scikit-learn prefers the last class
        expected["top3_accuracy"] = sk.top_k_accuracy_score(
            num_classes - 1 - target, prob[:, ::-1], k=3, labels=labels
        )
    if present:
        expected["macro_roc_auc"] = np.mean(
            [sk.roc_auc_score(target == k, prob[:, k]) for k in present]
        )
    result = metrics.single_label(target, prob)
    assert result == pytest.approx(expected, abs=1e-10)
    assert all(type(value) is float for value in result.values())


def test_sklearns_own_averages_when_every_class_is_present():
    target, prob = single_case(5, ties=True, missing=False)
    result = metrics.single_label(target, prob)
    ovr = sk.roc_auc_score(target, prob, multi_class="ovr", average="macro")
    assert result["macro_roc_auc"] == pytest.approx(ovr, abs=1e-12)
    balanced = sk.balanced_accuracy_score(target, prob.argmax(1))
    assert result["balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)
    one_hot = label_binarize(target, classes=range(5))
    brier = sum(sk.brier_score_loss(one_hot[:, k], prob[:, k]) for k in range(5))
    assert result["brier"] == pytest.approx(brier, abs=1e-12)


def test_macro_f1_counts_classes_that_are_only_predicted():
    prob = np.eye(4)[[0, 0, 2]]
    result = metrics.single_label(np.array([0, 0, 0]), prob)
    assert result["macro_f1"] == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert result["balanced_accuracy"] == pytest.approx(2 / 3)


def test_one_track():
    result = metrics.single_label(np.array([1]), np.array([[0.25, 0.5, 0.25]]))
    assert result == pytest.approx(
        {
            "accuracy": 1,
            "balanced_accuracy": 1,
            "macro_f1": 1,
            "top3_accuracy": 1,
            "log_loss": np.log(2),
            "brier": 0.375,
            "ece": 0.5,
        }
    )
    result = metrics.multi_label(np.array([[1, 0]]), np.array([[0.9, 0.2]]))
    assert result == {
        "micro_f1": 1,
        "micro_roc_auc": 1,
        "micro_average_precision": 1,
        "num_tags_excluded": 2,
    }


def test_a_certain_mistake_has_a_finite_log_loss():
    target, prob = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    loss = metrics.single_label(target, prob)["log_loss"]
    assert loss == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)
    assert loss == pytest.approx(sk.log_loss(target, prob), abs=1e-12)


def test_narrow_dtypes_are_computed_wide():
    target, prob = single_case(30, ties=False, missing=False)
    prob_32 = prob.astype(np.float32)
    narrow = metrics.single_label(target.astype(np.uint8), prob_32)
    assert narrow == metrics.single_label(target, prob_32.astype(np.float64))
    assert metrics.confusion(target.astype(np.uint8), target.astype(np.int8), 30).sum() == 200


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_tags", [1, 2, 3, 30])
def test_multi_label_agrees_with_sklearn(num_tags, ties):
    target, prob = multi_case(num_tags, ties)
    thresholds = np.linspace(0.3, 0.7, num_tags)
    counted = [k for k in range(num_tags) if 0 < target[:, k].sum() < len(target)]
    predicted = prob >= thresholds
    f1 = [sk.f1_score(target[:, k], predicted[:, k], zero_division=0) for k in counted]
    expected = {
        "num_tags_excluded": num_tags - len(counted),
        "macro_f1": np.mean(f1),
        "micro_f1": sk.f1_score(target.ravel(), predicted.ravel()),
    }
    for name, metric in RANKINGS.items():
        values = [metric(target[:, k], prob[:, k]) for k in counted]
        expected[f"macro_{name}"] = np.mean(values)
        expected[f"weighted_{name}"] = np.average(values, weights=target[:, counted].sum(0))
        expected[f"micro_{name}"] = metric(target.ravel(), prob.ravel())
    result = metrics.multi_label(target, prob, thresholds)
    assert result == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in result.values())


def test_a_half_is_the_default_threshold_and_is_positive():
    target, prob = multi_case(30, ties=True)
    assert (prob == 0.5).any()
    default = metrics.multi_label(target, prob)
    assert default == metrics.multi_label(target, prob, np.full(30, 0.5))
    assert default != metrics.multi_label(target, prob, np.full(30, 0.51))


def test_multi_label_without_anything_to_rank():
    result = metrics.multi_label(np.zeros((3, 2)), np.full((3, 2), 0.1))
    assert result == {"micro_f1": 0.0, "num_tags_excluded": 2.0}


@pytest.mark.parametrize("num_levels", [1, 2, 5, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_ranking_metrics_with_ties(seed, num_levels):
    rng = np.random.default_rng(seed)
    target, score = rng.integers(2, size=60), rng.integers(num_levels, size=60) - num_levels / 3
    target[:2] = 0, 1
    for name, reference in RANKINGS.items():
        assert getattr(metrics, name)(target, score) == pytest.approx(reference(target, score))
    margin = score[target == 1][:, None] - score[target == 0]
    by_pairs = ((margin > 0) + 0.5 * (margin == 0)).mean()
    assert metrics.roc_auc(target, score) == pytest.approx(by_pairs)


@pytest.mark.parametrize("ties", [False, True])
def test_best_thresholds_are_the_best_of_all(ties):
    target, prob = multi_case(6, ties)
    thresholds = metrics.best_thresholds(target, prob)
    assert thresholds[0] == 0.5
    for k in range(1, 6):
        f1 = {t: sk.f1_score(target[:, k], prob[:, k] >= t) for t in np.unique(prob[:, k])}
        best = max(f1.values())
        assert thresholds[k] == max(t for t in f1 if f1[t] > best - 1e-12)
    tuned, default = (metrics.multi_label(target, prob, t) for t in (thresholds, None))
    assert tuned["macro_f1"] > default["macro_f1"]


def test_confusion_agrees_with_sklearn():
    target, prob = single_case(30, ties=True, missing=True)
    expected = sk.confusion_matrix(target, prob.argmax(1), labels=range(30))
    np.testing.assert_array_equal(metrics.confusion(target, prob.argmax(1), 30), expected)


@pytest.mark.parametrize("ties", [False, True])
def test_pair_accuracy_against_a_loop(ties):
    target, prob = single_case(5, ties, missing=True)

    def share(a, b):
        margins = [row[a] - row[b] for row in prob[target == a]]
        return np.mean([1.0 if m > 0 else 0.5 if m == 0 else 0.0 for m in margins])

    result = metrics.pair_accuracy(target, prob)
    for a in range(5):
        for b in range(5):
            if a == b or 4 in (a, b):
                assert np.isnan(result[a, b])
            else:
                assert result[a, b] == pytest.approx((share(a, b) + share(b, a)) / 2)


@pytest.mark.parametrize("num_tracks", [1, 14, 15, 16, 200])
def test_ece_bins_hold_equal_numbers_of_tracks(num_tracks):
    rng = np.random.default_rng(num_tracks)
    correct, confidence = rng.integers(2, size=num_tracks), rng.random(num_tracks).round(1)
    expected = ece_by_loop(correct, confidence, 15)
    assert metrics.expected_calibration_error(correct, confidence) == pytest.approx(expected)


def test_evaluate_picks_the_task_and_has_its_primary_metric():
    single, multi = single_case(3, False, False), multi_case(3, False)
    tags = metrics.best_thresholds(*multi)
    by_task = {
        False: (metrics.evaluate(*single, multilabel=False), metrics.single_label(*single)),
        True: (metrics.evaluate(*multi, True, tags), metrics.multi_label(*multi, tags)),
    }
    for multilabel, (result, expected) in by_task.items():
        assert result == expected
        assert metrics.PRIMARY[multilabel] in result
    with pytest.raises(ValueError, match="thresholds belong to multi-label"):
        metrics.evaluate(*single, multilabel=False, thresholds=tags)


HALVES = np.full((2, 2), 0.5)
TAGS = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.single_label([0], HALVES), r"must have shape \(2,\), not \(1,\)"),
        (lambda: metrics.single_label([0, 2], HALVES), "between 0 and 1"),
        (lambda: metrics.single_label([0, -1], HALVES), "between 0 and 1"),
        (lambda: metrics.single_label([0.0, 1.0], HALVES), "integers, not float64"),
        (lambda: metrics.single_label([0, 1], HALVES * np.nan), "NaN"),
        (lambda: metrics.single_label([0, 1], HALVES * 4), "between 0 and 1"),
        (lambda: metrics.single_label([0, 1], HALVES - 1), "between 0 and 1"),
        (lambda: metrics.single_label([0, 1], HALVES / 2), "sum to 1"),
        (lambda: metrics.single_label([], np.empty((0, 2))), "at least one"),
        (lambda: metrics.multi_label(TAGS[:1], HALVES), "predictions' shape"),
        (lambda: metrics.multi_label(TAGS * 2, HALVES), "0 or 1"),
        (lambda: metrics.multi_label(TAGS, HALVES * np.nan), "NaN"),
        (lambda: metrics.multi_label(TAGS, HALVES, [0.5]), "2 numbers"),
        (lambda: metrics.multi_label(TAGS, HALVES, [0.5, np.nan]), "2 numbers"),
        (lambda: metrics.best_thresholds(TAGS, HALVES[0]), "at least one of each"),
        (lambda: metrics.pair_accuracy([0], HALVES), "must have shape"),
        (lambda: metrics.confusion([0, 1], [0], 2), "must have shape"),
        (lambda: metrics.confusion([], [], 2), "at least one track"),
        (lambda: metrics.roc_auc([1, 1], [0.1, 0.2]), "at least one negative"),
        (lambda: metrics.roc_auc([0, 1], [0.1, np.nan]), "NaN"),
        (lambda: metrics.average_precision([0, 0], [0.1, 0.2]), "at least one positive"),
        (lambda: metrics.average_precision([], []), "at least one track"),
    ],
)
def test_broken_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(not PEERS.is_dir(), reason="the published scores are not beside the project")
def test_published_scores_of_musicnn_on_mtat():
    with np.load(PEERS / "mtat_musicnn.npz") as arrays:
        target, prob = arrays["target"], arrays["probability"]
    published = json.loads((PEERS / "mtat_musicnn.json").read_text())
    result = metrics.multi_label(target, prob)
    for name in ("macro_roc_auc", "micro_roc_auc", "weighted_roc_auc"):
        assert result[name] == pytest.approx(published[name], abs=1e-9)
    for average in ("macro", "micro", "weighted"):
        expected = sk.average_precision_score(target, prob, average=average)
        assert result[f"{average}_average_precision"] == pytest.approx(expected, abs=1e-9)
    assert result["num_tags_excluded"] == 0
