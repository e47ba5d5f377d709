"""The leaderboard: what is pooled, ranked and refused; on real run folders, by scikit-learn."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from leaderboard.__main__ import find_runs, main
from leaderboard.table import make_table, to_markdown
from tests.runs import CLASSES, CONTRASTS, HARDWARE, change_result, change_scores, make_run, read
from zoo.errors import InputError
from zoo.pooling import pool


def rank(*directories):
    """Return the table of the runs in these folders, and what was said of those left out."""
    said = []
    return make_table(pool(find_runs(directories), said.append)), said


def accuracy(*folders):
    target, scores = read(*folders)
    return sk.accuracy_score(target, scores.argmax(1))


def cells(markdown):
    """Return the cells of all lines of the tables."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_row_is_a_recipe_over_its_seeds(tmp_path):
    skills = {"linear": 0.2, "vgg": 0.4, "crnn": 0.3}
    runs = {
        model: [make_run(tmp_path / model / str(s), s, model, skill=skill) for s in range(3)]
        for model, skill in skills.items()
    }
    table, said = rank(tmp_path)
    means = {model: np.mean([accuracy(run) for run in runs[model]]) for model in runs}
    assert table["model"].tolist() == sorted(means, key=means.get, reverse=True)
    assert said == [] and table["protocol"].nunique() == 1
    assert (table["num_seeds"] == 3).all() and (table["chance"] == 1 / 3).all()
    for row in table.itertuples():
        scored = [read(run) for run in runs[row.model]]
        deviation = np.std([accuracy(run) for run in runs[row.model]], ddof=1)
        f1 = np.mean([sk.f1_score(t, p.argmax(1), average="macro") for t, p in scored])
        loss = np.mean([sk.log_loss(t, p / p.sum(1, keepdims=True)) for t, p in scored])
        assert row.mean == pytest.approx(means[row.model], abs=1e-12)
        assert row.deviation == pytest.approx(deviation, abs=1e-12) and deviation > 0
        assert row.macro_f1 == pytest.approx(f1, abs=1e-12)
        assert row.log_loss == pytest.approx(loss, abs=1e-6)


def test_folds_are_pooled_by_their_tracks(tmp_path):
    runs = {
        seed: [
            make_run(tmp_path / f"{seed}-{fold}", seed, fold=fold, num_tracks=n, skill=skill)
            for fold, n, skill in [(10, 30, 0.7), (2, 120, 0.2)]
        ]
        for seed in range(2)
    }
    table, _ = rank(tmp_path)
    pooled = [accuracy(*folders) for folders in runs.values()]
    assert table["mean"].tolist() == [pytest.approx(np.mean(pooled), abs=1e-12)]
    assert abs(np.mean(pooled) - np.mean([accuracy(r) for rs in runs.values() for r in rs])) > 0.01
    assert table["deviation"][0] == pytest.approx(np.std(pooled, ddof=1), abs=1e-12)
    assert table[["num_tracks", "num_seeds", "folds"]].values.tolist() == [[150, 2, "2, 10"]]
    assert "## gtzan, split given, folds 2, 10\n\n150 test tracks" in to_markdown(table)


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "gtzan2"},
        {"split": "artist"},
        {"evaluation": "first chunk"},
        {"train_fingerprint": "more tracks"},
        {"num_tracks": 60},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_protocols_are_not_ranked_together(tmp_path, other):
    for model in ("linear", "vgg"):
        make_run(tmp_path / model, model=model)
        make_run(tmp_path / f"other-{model}", model=model, **other)
    table, said = rank(tmp_path)
    assert said == []
    assert table.groupby("protocol")["model"].apply(set).tolist() == [{"linear", "vgg"}] * 2
    assert to_markdown(table).count("## ") == 2


def test_incomplete_folds_are_not_ranked_with_complete_ones(tmp_path):
    for model, seed, fold in [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 1, 1), ("b", 0, 0)]:
        make_run(tmp_path / f"{model}{seed}{fold}", seed, model, fold)
    table, _ = rank(tmp_path)
    assert table[["model", "folds", "num_seeds"]].values.tolist() == [
        ["b", "0", 1],
        ["a", "0, 1", 2],
    ]
    make_run(tmp_path / "a20", 2, "a", 0)
    table, _ = rank(tmp_path)
    assert dict(table.groupby("folds")["num_seeds"].sum()) == {"0": 2, "0, 1": 2}


def test_several_labels(tmp_path):
    runs = [make_run(tmp_path / str(s), s, multilabel=True, contrasts=CONTRASTS) for s in range(2)]
    table, said = rank(tmp_path)
    precision, area = [], []
    for run in runs:
        scores = pd.read_parquet(run / "scores.parquet")
        target = np.array([[c in label.split("|") for c in CLASSES] for label in scores["label"]])
        given = scores[[f"p:{c}" for c in CLASSES]].to_numpy(np.float64)
        precision.append(sk.average_precision_score(target, given, average="macro"))
        area.append(sk.roc_auc_score(target, given, average="macro"))
    row = table.iloc[0]
    assert said == [] and row["metric"] == "macro_average_precision"
    assert row["mean"] == pytest.approx(np.mean(precision), abs=1e-12)
    assert row["macro_roc_auc"] == pytest.approx(np.mean(area), abs=1e-12)
    assert row[["chance", "macro_f1", "log_loss"]].isna().all()
    markdown = to_markdown(table)
    assert "macro average precision" in markdown and "macro roc auc" in markdown
    assert "chance" not in markdown and "macro f1" not in markdown


def test_told_apart(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed, contrasts=CONTRASTS) for seed in range(2)]
    table, _ = rank(tmp_path)
    for name, pair in CONTRASTS.items():
        a, b = map(CLASSES.index, pair)
        shares = []
        for target, scores in map(read, runs):
            right_a = (scores[:, a] > scores[:, b])[target == a].mean()
            right_b = (scores[:, b] > scores[:, a])[target == b].mean()
            shares.append((right_a + right_b) / 2)
        assert table[f"told apart: {name}"][0] == pytest.approx(np.mean(shares), abs=1e-12)
    assert ["model", "front end", "swing", "clave"] in cells(to_markdown(table))


def test_costs_are_medians_and_devices_are_named_where_they_differ(tmp_path):
    for seed, speed in enumerate([10.0, 11.0, 90.0]):
        make_run(tmp_path / str(seed), seed, clips_per_second=speed, wall_seconds=speed * 2)
    table, _ = rank(tmp_path)
    assert table[["clips_per_second", "wall_seconds"]].values.tolist() == [[11, 22]]
    assert not {"device", "clip seconds"} & set(cells(to_markdown(table))[0])
    gpu = HARDWARE.model_copy(update={"device": "H200"})
    make_run(tmp_path / "gpu", model="vgg", hardware=gpu, clip_seconds=3.0)
    header, _, *rows = cells(to_markdown(rank(tmp_path)[0]))
    assert {row[header.index("device")] for row in rows} == {"Z80", "H200"}
    assert {row[header.index("clip seconds")] for row in rows} == {"10", "3"}


def test_recipes_of_one_model_say_what_differs(tmp_path):
    long = {"epochs": 10, "output_dir": "here", "optimizer": {"lr": 0.1, "decay": 0}}
    short = {"epochs": 3, "output_dir": "there", "optimizer": {"lr": 0.2, "decay": 0}}
    make_run(tmp_path / "long", config=long, recipe="1234567890ab")
    make_run(tmp_path / "short", config=short, recipe="12345e67890a")
    make_run(tmp_path / "other", model="vgg", config=long)
    header, _, *rows = cells(to_markdown(rank(tmp_path)[0]))
    said = {row[header.index("recipe")] for row in rows}
    assert said == {"12345678 epochs=10 optimizer.lr=0.1", "12345e67 epochs=3 optimizer.lr=0.2", ""}
    (tmp_path / "short" / "result.json").unlink()
    assert "recipe" not in cells(to_markdown(rank(tmp_path)[0]))[0]


def test_names_cannot_break_a_table(tmp_path):
    hostile = "a|b\\|c\nd"
    contrasts = {"x|y": ("rock", "funk")}
    make_run(tmp_path / "a", model=hostile, dataset="synth|9", contrasts=contrasts)
    make_run(tmp_path / "b", dataset="synth|9", contrasts=contrasts, config={"tag": "1|2"})
    make_run(tmp_path / "c", dataset="synth|9", contrasts=contrasts)
    markdown = to_markdown(rank(tmp_path)[0])
    main_table, told_apart = cells(markdown)[:5], cells(markdown)[5:]
    assert {len(row) for row in main_table} == {11} and {len(row) for row in told_apart} == {4}
    assert r"a\|b\\\|c d" in {row[0] for row in main_table}
    assert "sanity check: says nothing about real music" in markdown


BROKEN = {
    "not JSON": (lambda run: (run / "result.json").write_text("{"), "is not a valid result"),
    "not text": (lambda run: (run / "result.json").write_bytes(b"\xff"), "is not a valid result"),
    "unknown key": (lambda run: change_result(run, lambda r: r.update(x=1)), "x"),
    "missing key": (lambda run: change_result(run, lambda r: r.pop("seed")), "seed"),
    "better metric": (
        lambda run: change_result(run, lambda r: r["metrics"]["test"].update(accuracy=0.99)),
        "says test accuracy 0.990000, but scores.parquet beside it gives 0.",
    ),
    "better F1": (
        lambda run: change_result(run, lambda r: r["metrics"]["test"].update(macro_f1=0.99)),
        "says test macro_f1 0.990000, but scores.parquet beside it gives 0.",
    ),
    "no metric": (
        lambda run: change_result(run, lambda r: r["metrics"].pop("test")),
        "no test accuracy",
    ),
    "better scores": (lambda run: change_scores(run, "p:rock", 0.0), "must sum to 1"),
    "uniform scores": (
        lambda run: [change_scores(run, f"p:{c}", 1 / 3) for c in CLASSES],
        "beside it gives 0.333333",
    ),
    "NaN scores": (lambda run: change_scores(run, "p:rock", np.nan), "NaN"),
    "other labels": (lambda run: change_scores(run, "label", "rock"), "other tracks or labels"),
    "unknown label": (lambda run: change_scores(run, "label", "polka"), "'polka'"),
    "no scores": (lambda run: (run / "scores.parquet").unlink(), "cannot be read as scores"),
    "no Parquet": (
        lambda run: (run / "scores.parquet").write_text("x"),
        "cannot be read as scores",
    ),
    "no class": (
        lambda run: (
            pd.read_parquet(run / "scores.parquet")
            .drop(columns="p:jazz")
            .to_parquet(run / "scores.parquet")
        ),
        "has no column 'p:jazz'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_invalid_run_is_left_out_with_its_reason(tmp_path, name):
    make_run(tmp_path / "good", 0)
    bad = make_run(tmp_path / "bad", 1)
    damage, reason = BROKEN[name]
    damage(bad)
    table, said = rank(tmp_path)
    assert table[["model", "num_seeds"]].values.tolist() == [["linear", 1]]
    assert len(said) == 1 and str(bad) in said[0] and reason in said[0]


def test_rounding_is_not_tampering(tmp_path):
    run = make_run(tmp_path / "run")
    change_result(run, lambda r: r["metrics"]["test"].update(accuracy=accuracy(run) + 9e-7))
    assert rank(tmp_path)[1] == []
    change_result(run, lambda r: r["metrics"]["test"].update(accuracy=accuracy(run) + 2e-6))
    assert len(rank(tmp_path, make_run(tmp_path / "good", 1))[1]) == 1


def test_the_newest_of_the_same_counts(tmp_path):
    runs = [make_run(tmp_path / name, fold=0, skill=s) for name, s in [("a", 0.1), ("b", 0.6)]]
    for newer, older in (runs, runs[::-1]):
        os.utime(older / "result.json", (1e9, 1e9))
        os.utime(newer / "result.json", (2e9, 2e9))
        table, said = rank(tmp_path)
        assert table["mean"].tolist() == [accuracy(newer)] and table["num_seeds"].tolist() == [1]
        assert len(said) == 1 and said[0].startswith(f"{older} is left out: {newer} is of the same")


def test_a_run_found_twice_counts_once(tmp_path):
    run = make_run(tmp_path / "deep" / "er" / "run")
    (tmp_path / "link").symlink_to(run)
    table, said = rank(tmp_path, run, tmp_path / "deep" / ".." / "deep", tmp_path / "link")
    assert table["num_seeds"].tolist() == [1] and said == []


def test_folds_that_share_tracks_are_left_out(tmp_path):
    make_run(tmp_path / "good")
    first, second = (make_run(tmp_path / f"bad{fold}", model="vgg", fold=fold) for fold in (0, 1))
    (second / "scores.parquet").write_bytes((first / "scores.parquet").read_bytes())
    tested = json.loads((first / "result.json").read_text())
    change_result(second, lambda r: r.update(metrics=tested["metrics"]))
    for_both = tested["protocol"]["test_fingerprint"]
    change_result(second, lambda r: r["protocol"].update(test_fingerprint=for_both))
    table, said = rank(tmp_path)
    assert table["model"].tolist() == ["linear"]
    assert len(said) == 1 and "fold0/0 is there twice" in said[0]


def test_the_command(tmp_path, python):
    for seed in range(2):
        make_run(tmp_path / "runs" / str(seed), seed, contrasts=CONTRASTS)
        make_run(tmp_path / "runs" / "tags" / str(seed), seed, multilabel=True)
    change_scores(make_run(tmp_path / "runs" / "tampered", 2), "p:rock", 0.5)
    ran = python("leaderboard", "show", "runs", "--out", "new/out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("runs/tampered is left out: ")
    out = tmp_path / "new" / "out"
    assert ran.stdout == (out / "leaderboard.md").read_text()
    parquet, csv = pd.read_parquet(out / "leaderboard.parquet"), out / "leaderboard.csv"
    expected, _ = rank(tmp_path / "runs")
    pd.testing.assert_frame_equal(parquet, expected)
    text = dict.fromkeys(expected.select_dtypes("str"), str)
    again = pd.read_csv(csv, dtype=text).fillna(dict.fromkeys(text, ""))
    pd.testing.assert_frame_equal(again, expected, check_dtype=False, rtol=1e-12)
    assert len(again) == 2
    assert f"{expected['mean'][0]:.4f}" in ran.stdout


def test_wrong_folders(tmp_path, python):
    (tmp_path / "empty").mkdir()
    run = make_run(tmp_path / "runs" / "run")
    ran = python("leaderboard", "show", "runs", "empty", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: empty holds no result.json;") and "\n" in ran.stderr[-1:]
    with pytest.raises(InputError, match=r"missing is no folder; give"):
        main(["show", str(tmp_path / "missing")])
    with pytest.raises(InputError, match=r"result\.json is no folder"):
        main(["show", str(run / "result.json")])
    with pytest.raises(InputError, match=r"result\.json cannot be written to"):
        main(["show", str(run), "--out", str(run / "result.json")])
    (run / "result.json").write_text("{}")
    with pytest.raises(InputError, match="none of the 1 results is valid"):
        main(["show", str(run)])


def test_no_torch():
    code = "import sys, leaderboard.__main__, zoo.results; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
    )
