"""From probabilities to answers: thresholds by brute force, trees, tags, what is unknown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.answers import UNKNOWN, Answers, descend, make_answers, of_levels
from zoo.calibration import Calibration, Threshold, lowest, thresholds
from zoo.errors import InputError
from zoo.runners import About
from zoo.tree import flat, levels_of, read_tree

CLASSES = ("death", "house", "pop", "punk", "rock", "techno")
TREE = """
electronic: [house, techno]
loud:
  rock: {metal: [death], punk:}
"""
RANDOM = np.random.default_rng(0)


def about(multilabel: bool = False, **given: Any) -> About:
    facts = {
        "model": "linear",
        "frontend": "mel",
        "weights": "0",
        "classes": CLASSES,
        "multilabel": multilabel,
        "sample_rate": 16_000,
        "clip_samples": 16_000,
        "min_samples": 1,
        "num_features": 3,
        "any_length": True,
        "thresholds": None,
        "calibration": None,
        "licence": None,
    }
    return About(**facts | given)


def write(folder: Path, text: str) -> Path:
    (folder / "tree.yaml").write_text(text)
    return folder / "tree.yaml"


def draw(num: int, multilabel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities that are right more often than not."""
    odds_BK = RANDOM.random((num, len(CLASSES)))
    if multilabel:
        return (RANDOM.random(odds_BK.shape) < odds_BK).astype(int), odds_BK
    prob_BK = odds_BK**3 / (odds_BK**3).sum(1, keepdims=True)
    target = [RANDOM.choice(len(CLASSES), p=prob_K) for prob_K in prob_BK]
    return np.array(target), prob_BK


@pytest.mark.parametrize("multilabel", [False, True])
def test_thresholds_are_the_lowest_that_reach_the_precision(multilabel):
    target, prob_BK = draw(200, multilabel)
    if multilabel:
        sure, right = prob_BK.ravel(), target.ravel() == 1
    else:
        sure, right = prob_BK.max(1), prob_BK.argmax(1) == target
    found = {t.precision: t for t in thresholds(target, prob_BK)}
    assert len(found) > 10
    for precision in np.arange(50, 101) / 100:
        fitting = [
            t for t in sure if (sure >= t).sum() >= 10 and right[sure >= t].mean() >= precision
        ]
        assert (float(precision) in found) == bool(fitting)
        if fitting:
            threshold = found[float(precision)]
            assert threshold.probability == min(fitting)
            share = right[sure >= min(fitting)].sum() / right.sum() if multilabel else None
            covered = share or (sure >= min(fitting)).mean()
            assert threshold.coverage == pytest.approx(covered)


def test_ties_are_answered_together():
    prob = np.array([[0.9, 0.1]] * 10 + [[0.8, 0.2]] * 10)
    target = np.array([0] * 10 + [1] * 2 + [0] * 8)
    kept = thresholds(target, prob)
    assert lowest(kept, 0.9) == Threshold(0.9, 0.8, 1.0)
    assert lowest(kept, 0.95) == Threshold(0.95, 0.9, 0.5)
    assert lowest(kept, 0.901).probability == 0.9


def test_a_precision_that_was_never_reached():
    kept = thresholds(*draw(50, False))
    with pytest.raises(InputError, match=r"--min-precision 1: .* the highest is 0\.\d+\.") as error:
        lowest(kept[:20], 1.0)
    assert str(error.value).count(". ") == 0
    with pytest.raises(InputError, match="nor of any other"):
        lowest(thresholds(*draw(5, False)), 0.5)  # too few tracks to say anything


def test_a_calibration_is_read_again():
    calibration = Calibration.of(*draw(100, False))
    assert Calibration.read(calibration.asdict()) == calibration


def test_a_tree_has_levels(tmp_path):
    levels = read_tree(write(tmp_path, TREE), CLASSES)
    assert [level.names for level in levels] == [
        ("loud", "electronic", "pop"),
        ("loud > rock", "electronic > house", "pop", "electronic > techno"),
        (
            "loud > rock > metal",
            "electronic > house",
            "pop",
            "loud > rock > punk",
            "loud > rock",
            "electronic > techno",
        ),
        (
            "loud > rock > metal > death",
            "electronic > house",
            "pop",
            "loud > rock > punk",
            "loud > rock",
            "electronic > techno",
        ),
    ]
    prob_BK = np.array([[0.1, 0.2, 0.25, 0.05, 0.3, 0.1]])
    np.testing.assert_allclose(levels[0].roll_up(prob_BK, False), [[0.45, 0.3, 0.25]])
    np.testing.assert_allclose(levels[0].roll_up(prob_BK, True), [[0.3, 0.2, 0.25]])
    np.testing.assert_allclose(levels[3].roll_up(prob_BK, False), prob_BK)


def test_an_answer_goes_down_the_tree():
    levels = levels_of([("a", "x"), ("a", "y"), ("z",)])
    prob_BK = np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    steps = descend(levels, prob_BK)
    assert [levels[1].names[i] for i in steps[1][0]] == ["a > x", "z"]
    np.testing.assert_allclose(steps[0][1], [0.6, 0.7])
    least = [Threshold(0.9, 0.55, 1.0), Threshold(0.9, 0.35, 1.0)]
    answers = Answers(about(), levels, least)
    assert answers.answer(prob_BK[0]) == ("a", pytest.approx(0.6))  # neither x nor y is sure
    assert answers.answer(prob_BK[1]) == ("z", 0.7)
    assert answers.answer(np.array([0.2, 0.2, 0.3])).genre == UNKNOWN


def test_the_most_probable_class_without_a_tree():
    answers = make_answers(about(), "", None, None)
    assert answers.answer(np.eye(6)[2] * 0.6) == ("pop", 0.6)
    assert [level.names for level in flat(CLASSES)] == [CLASSES]


def test_tags():
    tagged = make_answers(about(True, thresholds=(0.5,) * 5 + (0.9,)), "", None, None)
    prob_K = np.array([0.6, 0.1, 0.7, 0.1, 0.1, 0.8])
    assert tagged.answer(prob_K) == ("pop|death", 0.8)
    assert tagged.answer(np.full(6, 0.1)) == ("", 0.1)


def test_tags_roll_up_where_none_below_is_sure():
    levels = levels_of([("a", "x"), ("a", "y"), ("b", "z"), ("b", "w"), ("q",), ("r",)])
    least = [Threshold(0.9, 0.5, 1.0), Threshold(0.9, 0.7, 1.0)]
    answers = Answers(about(True), levels, least)
    assert answers.answer(np.array([0.6, 0.1, 0.8, 0.1, 0.2, 0.2])).genre == "b > z|a"
    assert answers.answer(np.full(6, 0.3)).genre == UNKNOWN


@pytest.mark.parametrize("multilabel", [False, True])
def test_thresholds_of_a_tree_are_those_of_its_nodes(tmp_path, multilabel):
    levels = read_tree(write(tmp_path, TREE), CLASSES)
    target, prob_BK = draw(300, multilabel)
    kept = of_levels(levels, target, prob_BK)
    assert kept[-1][0].precision <= kept[0][0].precision
    least = lowest(kept[0], 0.6)
    if multilabel:
        sure = levels[0].roll_up(prob_BK, True).ravel()
        right = levels[0].roll_up(target, True).ravel() == 1
    else:
        node_B, sure = descend(levels, prob_BK)[0]
        right = levels[0].member_KM[target, node_B]
    assert right[sure >= least.probability].mean() >= 0.6


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("loud: [roc]", "the model has no class 'roc'; did you mean rock?"),
        ("loud: [rock]\nhard: [rock]", "has 'rock' twice"),
        ("- rock", "must hold lines of the form"),
        ("loud: [", "cannot be read as YAML"),
        ("a: &a\n  b: *a", "is deeper than 20 levels, or contains itself"),
    ],
)
def test_what_is_no_tree(tmp_path, text, sentence):
    with pytest.raises(InputError, match=r"tree\.yaml") as error:
        read_tree(write(tmp_path, text), CLASSES)
    assert sentence in str(error.value)


def test_what_precision_needs(tmp_path):
    with pytest.raises(InputError, match="does not carry the calibration"):
        make_answers(about(), "some.onnx", None, 0.9)
    with pytest.raises(InputError, match="needs validation scores"):
        make_answers(about(), str(tmp_path), flat(CLASSES), 0.9)
