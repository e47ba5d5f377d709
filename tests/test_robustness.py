"""A trained run under degradations, and hearing less: raw scores, and what they amount to."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import soundfile
import torch

from benchmarks import measure
from benchmarks.degradations import CONDITIONS
from benchmarks.measures import length, robustness
from benchmarks.scoring import scores
from benchmarks.summaries import length as length_summary
from benchmarks.summaries import robustness as robustness_summary
from conftest import TINY_SYNTH
from zoo.config import compose
from zoo.decoding import prepare
from zoo.errors import InputError
from zoo.opened import Opened, open_run
from zoo.results import SCORES, Result
from zoo.train import main as train

QUICK = ("model=linear", "min_steps=40", "threads=1", "clip_seconds=2", "audit=warn")
FEW = [c for c in CONDITIONS if c.name in {"unchanged", "white-noise-10db", "tempo-1.25"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A run on `synth`; its chunks of 2 s are shorter than the tracks of 3 s."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(compose("train", [*QUICK, *TINY_SYNTH, f"output_dir={folder}"]))
    return open_run(folder)


@pytest.fixture(scope="module")
def table(run: Opened) -> pd.DataFrame:
    """Its scores under a few conditions, through the files that measuring writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "CONDITIONS", FEW)
        measure.main([str(run.folder), "robustness"])
    return measure.read(run.folder, "robustness")


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table.filter(regex="^p:").to_numpy()


def stored(run: Opened) -> pd.DataFrame:
    return pd.read_parquet(run.folder / SCORES["test"])


def test_clean_scores_are_those_of_the_test(run: Opened, table: pd.DataFrame) -> None:
    clean = table[table["condition"] == "clean"]
    assert list(clean["track"]) == list(stored(run)["track"])
    np.testing.assert_array_equal(probabilities(clean), probabilities(stored(run)))


def test_every_track_is_scored_under_every_condition(run: Opened, table: pd.DataFrame) -> None:
    classes = [f"p:{name}" for name in run.result.protocol.classes]
    assert list(table) == ["panel", "condition", "track", *classes]
    assert set(table.dtypes[classes]) == {np.dtype("float32")}
    assert list(table["condition"].unique()) == ["clean", *(c.name for c in FEW)]
    clean = table[table["condition"] == "clean"]
    for condition in FEW:
        part = table[table["condition"] == condition.name]
        assert set(part["panel"]) == {condition.panel}
        assert list(part["track"]) == list(clean["track"])
        apart = np.abs(probabilities(part) - probabilities(clean)).max()
        assert apart == 0 if condition.name == "unchanged" else apart > 0.02


def test_degraded_tracks_score_as_their_audio_does(run: Opened, table: pd.DataFrame) -> None:
    """Degraded and cut into chunks by hand."""
    (condition,) = (c for c in FEW if c.name == "white-noise-10db")
    track = run.data.manifest.split("test").frame.iloc[3]
    x, rate = soundfile.read(track["path"], dtype="float32")
    y = condition.apply(x, rate, track["track"])
    assert rate == run.model.sample_rate
    chunk = 2 * run.model.sample_rate
    chunks = torch.tensor(np.stack([y[:chunk], y[-chunk:]]), dtype=torch.float32)
    with torch.inference_mode():
        expected = run.model.probabilities(run.model(chunks)).mean(0)
    row = table[(table["condition"] == condition.name) & (table["track"] == track["track"])]
    np.testing.assert_allclose(probabilities(row)[0], expected, atol=1e-3)


def test_measuring_again_makes_no_copies_again(run: Opened, table: pd.DataFrame) -> None:
    copies = list((Path(run.data.store.folder).parents[1] / "degraded").rglob("*.flac"))
    assert len(copies) == len(FEW) * len(stored(run))
    before = {copy: copy.stat().st_mtime_ns for copy in copies}
    again = robustness.under(run, FEW[1])
    expected = table[table["condition"] == FEW[1].name]
    np.testing.assert_array_equal(probabilities(again), probabilities(expected))
    assert before == {copy: copy.stat().st_mtime_ns for copy in copies}


@pytest.mark.parametrize("seconds", [1, 2, 2.5])  # less than a chunk, a chunk, more
def test_the_middle_scores_as_a_file_of_it(run: Opened, tmp_path: Path, seconds: float) -> None:
    data, rate = run.data, run.model.sample_rate
    rows = data.rows("test")
    middle = dataclasses.replace(data, store=data.store.middle(round(seconds * rate)))
    paths = []
    for row in rows:
        whole = data.store.track(row)
        start = round((3 - seconds) / 2 * rate)
        paths.append(str(tmp_path / f"{row}.wav"))
        soundfile.write(paths[-1], whole[start:][: round(seconds * rate)], rate)
    store, left_out = prepare(paths, rate, tmp_path, workers=1)
    assert left_out.empty
    files = dataclasses.replace(data, manifest=data.manifest.split("test"), store=store)
    expected = probabilities(scores(run, files, np.arange(len(rows))))
    np.testing.assert_array_equal(probabilities(scores(run, middle, rows)), expected)


def test_lengths_that_are_heard(run: Opened) -> None:
    table = length.measure(run)
    assert list(table["seconds"].unique()) == [1, 2, np.inf]  # of tracks of 3 s
    whole = table[table["seconds"] == np.inf]
    np.testing.assert_array_equal(probabilities(whole), probabilities(stored(run)))
    assert np.abs(probabilities(table[table["seconds"] == 1]) - probabilities(whole)).max() > 0.01


def test_the_middle_of_a_store(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{n}.wav") for n in (3000, 2001, 1700)]
    for path in paths:
        ramp = np.arange(int(Path(path).stem), dtype=np.int16)
        soundfile.write(path, ramp, 16_000)
    store, _ = prepare(paths, 16_000, tmp_path, workers=1)
    middle = store.middle(2000)
    assert middle.lengths.tolist() == [2000, 2000, 1700] and middle.paths == paths
    assert middle.track(0).tolist() == list(range(500, 2500))
    assert middle.track(1).tolist() == list(range(2000))
    assert middle.select(np.array([2, 0])).track(1)[0] == 500
    (chunk,) = middle.gather(np.array([2]), np.array([0]), 1800)
    assert chunk.tolist() == [*range(1700), *range(100)]
    assert store.lengths.tolist() == [3000, 2001, 1700]


LABELS = list("abcabcabcabc")
TRACKS = [f"t{i}" for i in range(len(LABELS))]


def made_run(folder: Path, like: Opened, multilabel: bool = False) -> Result:
    """A run of three classes, right for each track; or of tags, which are at times ranked wrong."""
    right = pd.get_dummies(pd.Series(LABELS)).to_numpy(np.float32)
    if multilabel:
        right = right * 0.5 + np.random.default_rng(0).uniform(0, 0.6, right.shape)
    folder.mkdir()
    identity = {"track": TRACKS, "label": LABELS, "artist": "", "group": ""}
    scored(identity, right).to_parquet(folder / SCORES["test"])
    protocol = like.result.protocol.model_copy(
        update={"classes": ["a", "b", "c"], "multilabel": multilabel}
    )
    return like.result.model_copy(update={"protocol": protocol})


def scored(columns: dict[str, object], scores_BK: np.ndarray) -> pd.DataFrame:
    """A table of scores."""
    classes = pd.DataFrame(scores_BK.astype(np.float32), columns=["p:a", "p:b", "p:c"])
    return pd.concat([pd.DataFrame(columns), classes], axis=1)


def spoilt(scores_BK: np.ndarray, tracks: list[int]) -> np.ndarray:
    """Scores that are wrong for these tracks."""
    wrong = scores_BK.copy()
    wrong[tracks] = np.roll(wrong[tracks], 1, axis=1)
    return wrong


def figures(summary: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.what, row.figure): row.value for row in summary.itertuples()}


SPOILT = {
    "mp3": ("degradation", [0]),
    "noise": ("degradation", [0, 1, 2]),
    "tempo": ("music", [*range(9)]),
}


def conditions(folder: Path) -> pd.DataFrame:
    clean = probabilities(pd.read_parquet(folder / SCORES["test"]))
    parts = [scored({"panel": "clean", "condition": "clean", "track": TRACKS}, clean)]
    for name, (panel, tracks) in SPOILT.items():
        about = {"panel": panel, "condition": name, "track": TRACKS[::-1]}  # in any order
        parts.append(scored(about, spoilt(clean, tracks)[::-1]))
    return pd.concat(parts, ignore_index=True)


def write(folder: Path, name: str, table: pd.DataFrame) -> None:
    measure.write(measure.file_of(folder, name), table)


def test_drops_are_paired_and_music_is_not_averaged(run: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run)
    write(folder, "robustness", conditions(folder))
    summary = robustness_summary.summarize(folder, result)
    values = figures(summary)
    assert values[("clean", "accuracy")] == 1 and ("clean", "accuracy_drop") not in values
    assert values[("mp3", "accuracy")] == pytest.approx(11 / 12)
    assert values[("noise", "accuracy_drop")] == pytest.approx(3 / 12)
    assert values[("tempo", "accuracy_drop")] == pytest.approx(9 / 12)
    assert values[("degradation", "mean_accuracy_drop")] == pytest.approx((1 + 3) / 2 / 12)
    assert (summary["low"] <= summary["value"]).all() and (
        summary["value"] <= summary["high"]
    ).all()
    assert set(summary["num_tracks"]) == {12}
    drops = summary.set_index(["what", "figure"])
    assert drops.loc[("mp3", "accuracy_drop"), "low"] < 0  # one track is no loss beyond noise
    assert drops.loc[("tempo", "accuracy_drop"), "low"] > 0


def test_one_artist_says_nothing_of_others(run: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run)
    write(folder, "robustness", conditions(folder))
    pd.read_parquet(file := folder / SCORES["test"]).assign(artist="one").to_parquet(file)
    drops = robustness_summary.summarize(folder, result).query("figure == 'accuracy_drop'")
    assert set(drops["low"]) == {-1} and set(drops["high"]) == {1}


def test_a_track_that_a_condition_lacks_counts_nowhere(run: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run)
    raw = conditions(folder)
    write(folder, "robustness", raw[(raw["condition"] != "mp3") | (raw["track"] != "t0")])
    summary = robustness_summary.summarize(folder, result)
    assert set(summary["num_tracks"]) == {11}
    assert figures(summary)[("noise", "accuracy_drop")] == pytest.approx(2 / 11)


def test_tags_are_measured_by_their_macro_average_precision(run: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run, multilabel=True)
    raw = conditions(folder)
    write(folder, "robustness", raw)
    truth = pd.get_dummies(pd.Series(LABELS)).to_numpy()
    aps = {}
    for name, part in raw.groupby("condition"):
        ordered = probabilities(part.set_index("track").loc[TRACKS])
        aps[name] = sklearn.metrics.average_precision_score(truth, ordered, average="macro")
    values = figures(summary := robustness_summary.summarize(folder, result))
    assert values[("noise", "macro_average_precision")] == pytest.approx(aps["noise"])
    drop = aps["clean"] - (aps["mp3"] + aps["noise"]) / 2
    assert values[("degradation", "mean_macro_average_precision_drop")] == pytest.approx(drop)
    assert (summary["low"] <= summary["high"]).all()


def test_scores_of_other_weights_or_tracks_are_refused(run: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run)
    raw = conditions(folder)
    for other in (raw.replace({"t3": "another"}), raw[raw["condition"] != "clean"]):
        write(folder, "robustness", other)
        with pytest.raises(InputError, match="condition clean are not those of its test"):
            robustness_summary.summarize(folder, result)
    raw.loc[raw["condition"] == "clean", "p:a"] *= 0.9
    write(folder, "robustness", raw)
    with pytest.raises(InputError, match="measure it again"):
        robustness_summary.summarize(folder, result)


@pytest.mark.parametrize(
    "wrong, enough",
    [
        ({1: 9, 2: 9, 5: 1}, 5),
        ({1: 1, 2: 9, 5: 0}, 5),
        ({1: 9, 2: 9, 5: 9}, np.inf),
        ({1: 1, 2: 0, 5: 0}, 1),
    ],
)
def test_enough_is_where_no_longer_time_is_worse(
    run: Opened, tmp_path: Path, wrong: dict[int, int], enough: float
) -> None:
    folder = tmp_path / "run"
    result = made_run(folder, run)
    clean = probabilities(pd.read_parquet(folder / SCORES["test"]))
    parts = [
        scored({"seconds": float(seconds), "track": TRACKS}, spoilt(clean, [*range(num)]))
        for seconds, num in {**wrong, np.inf: 0}.items()
    ]
    write(folder, "length", pd.concat(parts, ignore_index=True))
    values = figures(length_summary.summarize(folder, result))
    assert values[("all", "enough_seconds")] == enough and values[("all", "accuracy")] == 1
    assert values[("2 s", "accuracy_drop")] == pytest.approx(wrong[2] / 12)
