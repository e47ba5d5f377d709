"""The model card: numbers against independent ones, and names of any kind."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as sk

from runs import make_run
from zoo.card import Scored, write_card
from zoo.datasets.base import encode_labels
from zoo.datasets.card import Card
from zoo.results import SCORES, Audited, Warned, read_result, read_scores
from zoo.runners import About

AWKWARD = "rock|[roll](http://x.y) <b>"
CALIBRATION = {"temperature": 1.25, "thresholds": [[0.9, 0.5, 0.3]], "num_tracks": 50}


def make_about(classes, **given):
    fields = {
        "model": "linear",
        "frontend": "mel",
        "weights": "0",
        "classes": tuple(classes),
        "multilabel": False,
        "sample_rate": 16_000,
        "clip_samples": 160_000,
        "min_samples": 512,
        "num_features": 192,
        "any_length": True,
        "thresholds": None,
        "calibration": CALIBRATION,
        "licence": None,
    }
    return About(**(fields | given))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", skill=0.5)


def card_of(run, artists=9, change=None, **given):
    """Return the card of a run whose tracks are by some artists, and its test tracks."""
    result = read_result(run)
    result = result.model_copy(update=change or {})
    tracks, prob_BK = read_scores(run / SCORES["test"], result.protocol.classes)
    tracks["artist"] = [f"artist{i % artists}" for i in range(len(tracks))]
    test = Scored(tracks, prob_BK)
    about = make_about(result.protocol.classes, multilabel=result.protocol.multilabel)
    return write_card(about, result, test, "some/one", **given), test


def front_matter(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def test_the_front_matter_is_that_of_the_hub(run):
    card, _ = card_of(run)
    head, accuracy = front_matter(card), read_result(run).metrics["test"]["accuracy"]
    assert head["pipeline_tag"] == "audio-classification" and head["library_name"] == "genre-zoo"
    assert "license" not in head
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"] == {"type": "gtzan", "name": "gtzan", "split": "test"}
    assert result["metrics"] == [{"type": "accuracy", "name": "test accuracy", "value": accuracy}]


def test_intervals_hold_their_values_and_f1_is_that_of_scikit_learn(run):
    card, test = card_of(run)
    classes = read_result(run).protocol.classes
    rows = re.findall(r"^\| (\w+) +\| (0\.\d+) +\| (\S+) to (\S+) +\|", card, re.MULTILINE)
    assert [name for name, *_ in rows] == ["accuracy", "balanced_accuracy", "macro_f1"]
    for name, *numbers in rows:
        value, low, high = map(float, numbers)
        assert 0 <= low < value < high <= 1
        assert value == pytest.approx(read_result(run).metrics["test"][name], abs=1e-3)
    target = encode_labels(test.tracks["label"], classes, False)
    expected = sk.f1_score(target, test.prob_BK.argmax(1), average=None)
    by_class = re.findall(r"^\| (funk|jazz|rock) +\| +(\d+) \| +(\S+) \|", card, re.MULTILINE)
    assert [name for name, *_ in by_class] == classes
    np.testing.assert_allclose([float(f1) for *_, f1 in by_class], expected, atol=6e-4)
    assert [int(count) for _, count, _ in by_class] == np.bincount(target).tolist()


def test_it_says_where_the_data_the_weights_and_the_limits_come_from(run):
    dataset = Card("gtzan", "Tzanetakis 2002", "not stated", "1.2 GB", "https://x.y", "genres")
    warned = Warned(kind="artist", sentence="2 artists are in both", affected=7)
    audit = Audited(test_tracks=90, affected=7, warnings=[warned])
    card, _ = card_of(
        run, change={"audit": audit}, base="a/base", exported="linear.onnx", dataset=dataset
    )
    for part in (
        "from the weights of a/base (licence: which its authors do not state)",
        "the test has 90 tracks by 9 artists",
        "The data set's licence: not stated; cite Tzanetakis 2002.",
        "hf download some/one linear.onnx --local-dir .",
        "(temperature 1.25) on 50 validation tracks",
        "The audit warns (artist): 2 artists are in both, which affects 7 of 90 test tracks.",
        "with seed 0 alone",
    ):
        assert part in card, part
    assert "was not audited" in card_of(run)[0]
    assert "not known from one artist" in card_of(run, artists=1)[0]


def test_names_of_others_are_no_markup(tmp_path):
    run = make_run(tmp_path / "run")
    file = run / SCORES["test"]
    table = pd.read_parquet(file).rename(columns={"p:rock": f"p:{AWKWARD}"})
    # a label in this project cannot hold the sign that joins several
    awkward = AWKWARD.replace("|", "/")
    table = table.rename(columns={f"p:{AWKWARD}": f"p:{awkward}"})
    table["label"] = table["label"].replace("rock", awkward)
    table.to_parquet(file)
    result = read_result(run)
    protocol = result.protocol.model_copy(
        update={"classes": ["funk", "jazz", awkward], "dataset": "my\n# data `x`"}
    )
    result = result.model_copy(update={"protocol": protocol})
    tracks, prob_BK = read_scores(file, protocol.classes)
    about = make_about(protocol.classes, licence="x: [y]")
    card = write_card(about, result, Scored(tracks, prob_BK), "some/one", base="../<i>")
    assert front_matter(card)["license"] == "x: [y]"
    assert front_matter(card)["model-index"][0]["results"][0]["dataset"]["name"] == "my\n# data `x`"
    text = card.split("---\n", 2)[2]
    assert "<b>" not in text and "<i>" not in text and "[roll]" not in text
    assert not re.search(r"^# data", text, re.MULTILINE)


def test_tags_have_their_metrics(tmp_path):
    run = make_run(tmp_path / "run", multilabel=True, skill=0.6)
    card, _ = card_of(run)
    rows = re.findall(r"^\| (\w+) +\| (0\.\d+) +\| (\S+) to (\S+) +\|", card, re.MULTILINE)
    assert [name for name, *_ in rows] == ["macro_average_precision", "macro_roc_auc", "macro_f1"]
    assert "knows the tags above and no others" in card
