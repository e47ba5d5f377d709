"""Standings: what is said of architectures and of checkpoints, from stored scores alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmarks.measure import file_of
from benchmarks.measure import write as write_table
from benchmarks.price import price_of
from benchmarks.report import recommendation, table, write
from benchmarks.standings import Standings, entries_of, standings
from benchmarks.suite import Grid, Suite
from leaderboard import between
from leaderboard.__main__ import find_runs, main
from leaderboard.protocols import RESULTS, run_id
from leaderboard.submit import submit
from tests.runs import make_run, read
from zoo.errors import InputError
from zoo.pooling import pool
from zoo.results import read_result

SEEDS = range(3)


def fail(line: str) -> None:
    pytest.fail(line)


def field(folder: Path, **skills: float) -> Standings:
    """Return the standings of models of these skills, three seeds each."""
    for model, skill in skills.items():
        for seed in SEEDS:
            make_run(folder / f"{model}{seed}", seed=seed, model=model, skill=skill)
    return stand(folder)


def stand(folder: Path, names: dict[Path, str] | None = None) -> Standings:
    (entries,) = entries_of(pool(find_runs([folder]), fail), names or {})
    return standings(entries)


def test_models_that_differ_have_ranks_of_their_own_and_those_that_do_not_share_them(
    tmp_path: Path,
) -> None:
    one = field(tmp_path, good=0.9, alike=0.9, bad=0.1)
    names = [entry.name.removesuffix(" mel") for entry in one.entries]
    assert set(names[:2]) == {"good", "alike"} and names[2] == "bad"
    assert one.ranks == ((1, 2), (1, 2), (3, 3))
    assert one.tied == (0, 1)
    rows = table(one)
    assert rows["tied_with_best"].tolist() == [True, True, False]
    assert (rows["low"] < rows["mean"]).all() and (rows["mean"] < rows["high"]).all()
    assert (rows["interval_of"] == "architecture").all()


def test_means_are_those_of_the_scores_and_units_are_tracks_here(tmp_path: Path) -> None:
    one = field(tmp_path, good=0.9)
    accuracies = []
    for seed in SEEDS:
        target, probability = read(tmp_path / f"good{seed}")
        accuracies.append((probability.argmax(1) == target).mean())
    assert one.entries[0].scores == pytest.approx(accuracies)
    assert one.entries[0].values.mean(1) == pytest.approx(accuracies)
    wilson = binomtest(round(accuracies[0] * 90), 90).proportion_ci(method="wilson")
    checkpoint = one.checkpoints[0][0]
    assert (checkpoint.low, checkpoint.high) == pytest.approx((wilson.low, wilson.high))
    assert checkpoint.method == "Wilson"


def test_with_two_seeds_there_is_no_claim(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / f"a{seed}", seed=seed, model="a", skill=0.9)
        make_run(tmp_path / f"b{seed}", seed=seed, model="b", skill=0.1)
    one = stand(tmp_path)
    assert one.intervals == (None, None) and one.ranks == (None, None) and one.tied == ()
    assert not one.comparisons
    rows = table(one)
    assert (rows["interval_of"] == "checkpoint").all() and not rows["tied_with_best"].any()
    assert "None is recommended" in recommendation(one) and "takes 3 seeds" in recommendation(one)


def test_one_seed_beside_three_is_shown_and_not_ranked(tmp_path: Path) -> None:
    field(tmp_path, a=0.5, b=0.1)
    make_run(tmp_path / "lucky", model="lucky", skill=0.99)
    one = stand(tmp_path)
    assert one.entries[0].name == "lucky mel" and one.ranks[0] is None
    assert one.ranks[1] is not None and 0 not in one.tied
    assert "Take a mel" in recommendation(one)


def test_of_those_that_are_tied_the_cheapest_is_recommended(tmp_path: Path) -> None:
    for seed in SEEDS:
        make_run(tmp_path / f"a{seed}", seed=seed, model="large", skill=0.6, parameters=10**7)
        make_run(tmp_path / f"b{seed}", seed=seed, model="small", skill=0.6, parameters=10**3)
        make_run(tmp_path / f"c{seed}", seed=seed, model="tiny", skill=0.0, parameters=1)
    said = recommendation(stand(tmp_path))
    assert "**Take small mel**" in said and "1,000 parameters" in said
    assert "tiny" not in said


def test_what_was_measured_is_the_price(tmp_path: Path) -> None:
    one = field(tmp_path, good=0.9)
    figures = {  # figure: value, batch
        "parameters": (1234, 0),
        "macs": (2e9, 1),
        "busy": (0.0, 0),
        "training": (0.5, 8),
        "scoring": (0.02, 1),
        "audio": (100.0, 4),
        "scoring_tracks": (0.25, 4),
        "decoding_tracks": (0.25, 4),
    }
    rows = [(name, value, "", batch) for name, (value, batch) in figures.items()]
    costs = pd.DataFrame(rows, columns=["figure", "value", "unit", "batch"])
    costs = costs.assign(device="cpu", processor="Z80", threads=1, precision="fp32")
    write_table(file_of(tmp_path / "good0", "cost"), costs)
    price = price_of(one.entries[0].runs)
    assert (price.macs, price.latency_ms, price.real_time) == (2.0, 20.0, 400.0)
    said = recommendation(one)
    assert "scores audio 400 times as fast as it plays" in said
    assert "a million tracks of 30 s take 42 hours (cpu, 1 thread)" in said  # half of it decoding


def test_one_that_is_better_than_all_is_recommended_outright(tmp_path: Path) -> None:
    said = recommendation(field(tmp_path, good=0.95, bad=0.1))
    assert "All others are worse. **Take good mel**" in said


def test_with_several_labels_the_jackknife_stands_for_tracks(tmp_path: Path) -> None:
    for seed in SEEDS:
        for model, skill in {"good": 0.9, "bad": 0.1}.items():
            folder = tmp_path / f"{model}{seed}"
            make_run(folder, seed=seed, model=model, skill=skill, multilabel=True)
    one = stand(tmp_path)
    best = one.entries[0]
    assert best.name == "good mel" and best.metric == "macro_average_precision"
    assert best.values.mean() == pytest.approx(best.mean, abs=0.02)  # less the jackknife's bias
    interval = one.intervals[0]
    assert interval is not None and interval.low < best.mean < interval.high
    assert one.ranks == ((1, 1), (2, 2))


def test_folds_are_one_test_set(tmp_path: Path) -> None:
    for seed in SEEDS:
        for fold in range(2):
            make_run(tmp_path / f"{seed}{fold}", seed=seed, fold=fold, skill=0.5, num_tracks=45)
    one = stand(tmp_path)
    assert one.entries[0].values.shape == (3, 90)


def test_what_is_written(tmp_path: Path) -> None:
    field(tmp_path / "runs", good=0.9, bad=0.1)
    pooled = pool(find_runs([tmp_path]), fail)
    names = {run.folder: f"the |{run.result.model}|" for one in pooled for run in one.runs}
    grid = Grid(data=[{}], models=[{}])
    text = write(pooled, names, Suite(about="A look", grids=[grid]), tmp_path / "out" / "look")
    assert (tmp_path / "out" / "look.md").read_text() == text
    assert text.startswith("# A look\n") and "the \\|good\\|" in text
    rows = pd.read_csv(tmp_path / "out" / "look.csv")
    assert rows["model"].tolist() == ["the |good|", "the |bad|"]
    assert "### Calibration" not in text  # these runs have no validation scores


def test_protocols_stand_side_by_side_and_are_not_ranked_together(tmp_path: Path) -> None:
    for seed in SEEDS:
        make_run(tmp_path / f"a{seed}", seed=seed, model="a", skill=0.9)
        make_run(tmp_path / f"b{seed}", seed=seed, model="a", skill=0.1, split="random")
    pooled = pool(find_runs([tmp_path]), fail)
    suite = Suite(about="A look", grids=[Grid(data=[{}], models=[{}])])
    text = write(pooled, {}, suite, tmp_path / "look")
    assert text.count("Take a mel") == 2
    (row,) = [line for line in text.partition("## Side by side")[2].splitlines() if "a mel" in line]
    means = [pd.read_csv(tmp_path / "look.csv")["mean"][place] for place in (0, 1)]
    assert all(f"{mean:.3f}" in row for mean in means)


def test_the_interval_is_computed_from_scores_never_from_a_field(tmp_path: Path) -> None:
    before = field(tmp_path, good=0.9).intervals[0]
    file = tmp_path / "good0" / "scores.parquet"
    scores = pd.read_parquet(file)
    columns = [c for c in scores if c.startswith("p:")]
    scores.loc[:44, columns] = scores.loc[:44, columns[::-1]].to_numpy().copy()
    scores.to_parquet(file)
    said: list[str] = []
    assert len(pool(find_runs([tmp_path]), said.append)) == 2  # refused: it gives other metrics
    assert "gives" in said[0] and before is not None


def test_compare_and_power_of_architectures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field(tmp_path, good=0.9, alike=0.9, bad=0.1)
    main(["compare", "good", "bad mel", str(tmp_path)])
    assert "good is better than bad" in capsys.readouterr().out
    main(["compare", "alike", "good", str(tmp_path)])
    assert "a tie: the difference may be noise" in capsys.readouterr().out
    main(["power", "alike", "good", str(tmp_path)])
    assert "seeds of each" in capsys.readouterr().out
    recipe = read_result(tmp_path / "bad0").recipe
    main(["compare", recipe[:8], "good", str(tmp_path)])
    assert "good is better than bad" in capsys.readouterr().out


def test_compare_checkpoints_by_mcnemar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    field(tmp_path, good=0.9, bad=0.3)
    a, b = tmp_path / "good0", tmp_path / "bad1"
    main(["compare", str(a), str(b)])
    said = capsys.readouterr().out
    right_a, right_b = ((p.argmax(1) == t) for t, p in (read(a), read(b)))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    exact = binomtest(only_a, only_a + only_b).pvalue
    assert f"p {exact:.3g}" in said and "exact McNemar" in said
    assert f"{only_a} tracks only" in said


def test_names_that_are_none_or_several(tmp_path: Path) -> None:
    for rate in (0.1, 0.2):
        for seed in SEEDS:
            config = {"optimizer": {"lr": rate}}
            make_run(tmp_path / f"{rate}{seed}", seed=seed, model="good", config=config)
    folders = find_runs([tmp_path])
    with pytest.raises(InputError, match=r"'god' is none of the models .* did you mean good"):
        between.protocols_with("god", "good", folders, fail)
    with pytest.raises(InputError, match=r"'good' may be any of .*optimizer.lr=0.1"):
        between.protocols_with("good", "good", folders, fail)


def test_models_that_never_met(tmp_path: Path) -> None:
    make_run(tmp_path / "a", model="a")
    make_run(tmp_path / "b", model="b", dataset="fma")
    with pytest.raises(InputError, match="never tested on the same tracks"):
        between.protocols_with("a", "b", find_runs([tmp_path]), fail)
    with pytest.raises(InputError, match="not tested on the same tracks"):
        between.checkpoints(tmp_path / "a", tmp_path / "b", fail)


def test_submitted_runs_name_no_place(tmp_path: Path) -> None:
    weights = tmp_path / "models" / "mtat" / "fcn" / "best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    config = {
        "output_dir": str(tmp_path / "run"),
        "cache_dir": str(tmp_path / "cache"),
        "dataset": {"name": "folder", "path": str(tmp_path / "music")},
        "checkpoint": str(weights),
        "model": {"name": "linear", "backend": {"checkpoint": None}},
    }
    run = make_run(tmp_path / "run", config=config)
    folder = submit(run, tmp_path / "results", new_protocol=True)
    assert str(tmp_path) not in (folder / "result.json").read_text()
    assert read_result(folder).config["checkpoint"] == "mtat/fcn/best.safetensors"
    before, after = (pool([f], fail)[0].runs[0].result for f in (run, folder))
    assert before.recipe == after.recipe and before.metrics == after.metrics
    with pytest.raises(InputError, match="of the same protocol, recipe and seed"):
        submit(run, tmp_path / "results", new_protocol=True)


def test_submit_refuses_scores_that_do_not_give_the_metrics(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = read_result(run)
    result.metrics["test"]["accuracy"] = 0.99
    (run / "result.json").write_text(result.model_dump_json())
    with pytest.raises(InputError, match="says test accuracy 0\\.99"):
        submit(run, tmp_path / "results", new_protocol=True)
    assert not (tmp_path / "results").exists()


def test_the_results_that_are_kept_are_valid_and_stand_where_their_names_say() -> None:
    folders = find_runs([RESULTS])
    pooled = pool(folders, fail)
    assert sum(len(one.runs) for one in pooled) == len(folders) >= 42
    for one in pooled:
        for run in one.runs:
            assert run.folder.name == run_id(run.result)
            assert run.result.config["output_dir"] is run.result.config["dataset"].get("path")


def test_identical_architectures_are_seldom_called_different(tmp_path: Path) -> None:
    skills = {f"same{number}": 0.5 for number in range(6)}
    one = field(tmp_path, **skills)
    assert len(one.tied) >= 5
    assert np.isfinite(one.p_values[~np.eye(6, dtype=bool)]).all()
