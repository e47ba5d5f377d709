"""Retrieval against scikit-learn, scipy and simulations; embeddings and summary of a tiny run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import skew
from sklearn.metrics import average_precision_score, ndcg_score

from benchmarks.measure import main as measure
from benchmarks.measure import read
from benchmarks.measures.retrieval import embed, random_network
from benchmarks.retrieval import FIGURES, cosine, figures, hubness, nearest
from benchmarks.summaries.retrieval import compare, same_artist, same_genre, summarize
from conftest import TINY_SYNTH
from zoo.config import compose
from zoo.model import GenreModel, without_start
from zoo.opened import open_run
from zoo.results import read_result
from zoo.train import main as train

RNG = np.random.default_rng(0)
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def example(num_queries: int = 20, num_candidates: int = 40, levels: int = 0) -> Arrays:
    """Random similarities (of so many levels, else all different), relevance and candidates."""
    shape = num_queries, num_candidates
    similarity = RNG.integers(levels, size=shape).astype(float) if levels else RNG.random(shape)
    return similarity, RNG.random(shape) < 0.2, RNG.random(shape) < 0.8


# --- figures


def test_figures_are_those_of_scikit_learn() -> None:
    similarity, relevant, candidate = example()
    table = figures(similarity, relevant, candidate)
    for row, s, r, c in zip(table.itertuples(), similarity, relevant, candidate, strict=True):
        assert row.average_precision == pytest.approx(average_precision_score(r[c], s[c]))
        assert row.ndcg == pytest.approx(ndcg_score([r[c]], [s[c]]))
        ranked = r[c][np.argsort(-s[c])]
        assert row.precision_at_10 == pytest.approx(ranked[:10].mean())
        assert row.r_precision == pytest.approx(ranked[: ranked.sum()].mean())


def test_ties_give_what_random_orders_give_on_average() -> None:
    similarity, relevant, candidate = example(num_queries=4, levels=4)
    relevant[:, :2], candidate[:, :2] = True, True
    ours = figures(similarity, relevant, candidate)
    orders = [
        figures(similarity + 0.5 * RNG.random(similarity.shape), relevant, candidate).to_numpy()
        for _ in range(2000)
    ]
    errors = 4 * np.std(orders, axis=0) / np.sqrt(len(orders))
    assert (abs(ours - np.mean(orders, axis=0)) <= errors + 1e-12).to_numpy().all()
    for ndcg, s, r, c in zip(ours["ndcg"], similarity, relevant, candidate, strict=True):
        assert ndcg == pytest.approx(ndcg_score([r[c]], [s[c]]))


def test_chance_is_the_share_of_relevant_candidates_and_what_simulation_gives() -> None:
    relevant, candidate = np.arange(30)[None] < 7, np.ones((1, 30), bool)
    chance = figures(np.zeros((1, 30)), relevant, candidate).iloc[0]
    assert chance["precision_at_10"] == pytest.approx(7 / 30)
    assert chance["r_precision"] == pytest.approx(7 / 30)
    drawn = figures(RNG.random((5000, 30)), relevant.repeat(5000, 0), candidate.repeat(5000, 0))
    assert (abs(drawn.mean() - chance) < 4 * drawn.std() / np.sqrt(5000)).all()


def test_edges_of_figures() -> None:
    similarity = np.array([[3.0, 2.0, 1.0]] * 4)
    relevant = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 1, 0]], bool)
    candidate = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], bool)
    table = figures(similarity, relevant, candidate)
    assert table.iloc[0].to_dict() == pytest.approx(
        dict(zip(FIGURES, (1, 1 / 3, 1, 1), strict=True))
    )
    assert table.loc[1, "average_precision"] == 0.5  # the second of two candidates
    assert table.iloc[2:].isna().all(axis=None)  # nothing relevant; no candidate at all


def test_cosine_forgets_lengths_and_stands_zeros() -> None:
    x = RNG.standard_normal((5, 3))
    np.testing.assert_allclose(cosine(x, 7 * x).diagonal(), 1)
    assert not cosine(np.zeros((2, 3)), x).any()
    assert len(np.unique(cosine(x[:1], np.repeat(x[1:2], 9, 0)))) == 1  # the same audio ties


# --- hubs


def test_hubness_is_the_skewness_of_occurrences() -> None:
    similarity, _, candidate = example(60, 80)
    near = nearest(similarity, candidate)
    expected = np.zeros((60, 80))
    for row in range(60):
        places = np.flatnonzero(candidate[row])
        expected[row, places[np.argsort(-similarity[row, places])[:10]]] = 1
    np.testing.assert_array_equal(near, expected)
    skewness, orphans = hubness(near)
    assert skewness == pytest.approx(skew(expected.sum(0)))
    assert orphans == (expected.sum(0) == 0).mean()


def test_a_hub_and_its_orphans() -> None:
    near = np.zeros((10, 50))
    near[:, 0] = 1
    assert hubness(near) == (pytest.approx(skew([10.0] + [0.0] * 49)), 0.98)
    assert np.isnan(hubness(np.ones((3, 4)))[0])


def test_chance_of_hubs_is_what_simulation_gives() -> None:
    candidate = RNG.random((30, 40)) < np.linspace(0.5, 1, 40)
    skewness, orphans = hubness(nearest(np.zeros((30, 40)), candidate))
    drawn = np.array([hubness(nearest(RNG.random((30, 40)), candidate)) for _ in range(1000)])
    assert orphans == pytest.approx(drawn[:, 1].mean(), abs=0.002)
    assert skewness == pytest.approx(drawn[:, 0].mean(), abs=0.05)


def test_ties_share_the_last_places() -> None:
    similarity = np.array([[9.0, 1, 1, 1, 1, 0]])
    near = nearest(similarity, np.ones((1, 6), bool), number=3)
    np.testing.assert_allclose(near, [[1, 0.5, 0.5, 0.5, 0.5, 0]])
    assert nearest(similarity, np.ones((1, 6), bool)).sum() == 6  # fewer than ten


# --- tasks


TRACKS = pd.DataFrame(
    [
        ("a1", "jazz", "ann", "x"),
        ("a2", "jazz", "ann", "x"),
        ("a3", "jazz|funk", "ann", "y"),
        ("b1", "funk", "bob", ""),
        ("b2", "jazz", "bob", ""),
        ("c1", "polka", "", "z"),
        ("c2", "polka", "", "z"),
    ],
    columns=["track", "label", "artist", "group"],
)


def test_tracks_by_the_same_unit_are_no_candidates_for_a_genre() -> None:
    task = same_genre("genre", TRACKS, np.ones(7, bool))
    found = task.relevant & task.candidate
    assert [np.flatnonzero(row).tolist() for row in found] == [
        [4],
        [4],
        [3, 4],
        [2],
        [0, 1, 2],
        [],
        [],
    ]
    assert not task.candidate[5, 6]  # of one group, by nobody known


def test_tracks_of_the_same_group_are_no_candidates_for_an_artist() -> None:
    task = same_artist(TRACKS)
    found = task.relevant & task.candidate
    assert [*map(list, map(np.flatnonzero, found))] == [[2], [2], [0, 1], [4], [3], [], []]
    assert not task.candidate.diagonal().any()


def table_of(trained: np.ndarray, random: np.ndarray, tracks: pd.DataFrame) -> pd.DataFrame:
    parts = [
        pd.concat([tracks.assign(network=name), pd.DataFrame(x).add_prefix("e")], axis=1)
        for name, x in (("trained", trained), ("random", random))
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_summary_of_a_perfect_and_of_a_useless_network() -> None:
    labels = np.arange(60) % 3
    tracks = pd.DataFrame(
        {
            "track": [f"t{i}" for i in range(60)],
            "label": np.array(["funk", "jazz", "polka"])[labels],
            "artist": [f"artist{i // 6}" for i in range(60)],
            "group": "",
        }
    )
    tracks.loc[59, "label"] = "alone"
    table = table_of(np.eye(3)[labels], np.ones((60, 3)), tracks)
    summary = compare(table, [same_genre("genre", tracks, np.ones(60, bool))])
    value = summary.set_index(["network", "figure"])["value"]
    perfect = value["trained"][["r_precision", "precision_at_10", "average_precision", "ndcg"]]
    assert (perfect > 0.95).all()  # the one with another label is in the way
    for name in (*FIGURES, "hubness", "orphans"):
        assert value["random", name] == pytest.approx(value["chance", name])
        expected = value["trained", name] - value["random", name]
        assert value["trained - random", name] == pytest.approx(expected)
    ranked = summary[summary["figure"].isin(FIGURES)]
    assert set(ranked["num_tracks"]) == {59} and set(ranked["left_out"]) == {1}
    assert (ranked["low"] <= ranked["value"]).all() and (ranked["value"] <= ranked["high"]).all()
    difference = ranked.set_index(["network", "figure"]).loc["trained - random"]
    assert (difference["low"] > 0.1).all()


def test_the_interval_of_a_difference_does_not_depend_on_the_signs_seen() -> None:
    labels = RNG.integers(3, size=40)
    tracks = pd.DataFrame({"track": [f"t{i}" for i in range(40)], "label": labels.astype(str)})
    tracks = tracks.assign(artist=[f"artist{i // 4}" for i in range(40)], group="")
    random = RNG.standard_normal((40, 5))
    table = table_of(np.eye(5)[labels], random, tracks)
    swapped = table_of(random, np.eye(5)[labels], tracks)
    task = same_genre("genre", tracks, np.ones(40, bool))
    names = ["network", "figure"]
    ours, theirs = (compare(t, [task]).set_index(names) for t in (table, swapped))
    better, worse = (table.loc["trained - random"] for table in (ours, theirs))
    np.testing.assert_allclose(better["low"], -worse["high"])
    np.testing.assert_allclose(better["high"], -worse["low"])
    same = compare(table_of(random, random, tracks), [task]).set_index(names)
    equal = same.loc["trained - random"]
    assert not equal["value"].any() and (equal["low"] < 0).all() and (equal["high"] > 0).all()


def test_without_artists_there_is_no_query() -> None:
    tracks = TRACKS.assign(artist="")
    x = RNG.standard_normal((7, 4))
    summary = compare(table_of(x, x, tracks), [same_artist(tracks)])
    ranked = summary[summary["figure"].isin(FIGURES)]
    assert ranked["value"].isna().all() and set(ranked["left_out"]) == {7}


# --- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "crnn"
    given = ["model=crnn", "epochs=1", "batch_size=16", *TINY_SYNTH]
    return train(compose("train", [*given, f"output_dir={folder}"]))


def test_embeddings_of_a_run(run: Path) -> None:
    measure([str(run), "retrieval"])
    table, opened = read(run, "retrieval"), open_run(run)
    rows = opened.data.rows("test")
    assert list(table.columns[:5]) == ["network", "track", "label", "artist", "group"]
    assert table["network"].value_counts().to_dict() == {"trained": len(rows), "random": len(rows)}
    assert (table.dtypes[5:] == np.float32).all()
    first = torch.from_numpy(opened.data.store.track(rows[0]))[None].float() / 32768
    with torch.inference_mode():  # a chunk covers the track
        expected = opened.model.embed(first)[0].numpy()
    np.testing.assert_allclose(table.iloc[0, 5:].to_numpy(float), expected, atol=2e-2)
    summary = summarize(run, read_result(run))
    assert set(summary["what"]) == {"same genre", "same artist"}
    ranked = summary["figure"].isin(FIGURES)
    assert summary["value"][ranked].notna().all() and len(summary) == 2 * 5 * 6
    by_others = (summary["what"] == "same genre") & (summary["figure"] == "hubness")
    assert summary["value"][by_others].isna().all()  # eight candidates: all are among ten


def test_the_random_network_knows_nothing_but_the_statistics(run: Path) -> None:
    opened = open_run(run)
    model = random_network(opened)
    config = without_start(opened.model.config)
    torch.manual_seed(opened.result.seed)
    fresh = GenreModel(config)
    for (name, ours), theirs in zip(model.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert any(b.abs().sum() for name, b in model.named_buffers() if name.endswith("running_mean"))
    assert not model.training
    again = random_network(opened)
    rows = opened.data.rows("test")
    np.testing.assert_array_equal(*(embed(opened, m, opened.data, rows) for m in (model, again)))
