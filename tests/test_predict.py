"""`python -m zoo.predict`: tables and files, over time, abstention, explanations, wrong inputs."""

import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from conftest import Run
from trained import GENRES, RATE, sound, train, write_library
from zoo import create_model, explain
from zoo.calibration import with_temperature
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.over_time import Run as Stretch
from zoo.over_time import clock, draw, runs
from zoo.predict import main
from zoo.results import read_scores

COLUMNS = [f"p:{genre}" for genre in GENRES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `music`, and `run`, a model that was trained on it."""
    made = tmp_path_factory.mktemp("predict")
    write_library(made / "music", per_genre=40)
    train(made, "precision=fp32")
    return made


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def predict(*arguments: str, code: int = 0) -> None:
    if code == 0:
        main(arguments)
        return
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == code


def test_predictions_are_the_runs_own_scores_calibrated(here):
    predict("run", "music", "--out", "all.csv")
    ours = pd.read_csv("all.csv").set_index("path")
    tracks, prob_BK = read_scores(Path("run/scores.parquet"), GENRES)
    temperature = GenreModel.from_pretrained("run").config.calibration["temperature"]
    expected = with_temperature(prob_BK, temperature, False)
    ours = ours.loc["music/" + tracks["track"]]
    np.testing.assert_allclose(ours[COLUMNS], expected, atol=1e-5)
    assert (ours["genre"] == [GENRES[k] for k in expected.argmax(1)]).all()
    np.testing.assert_allclose(ours["probability"], expected.max(1), atol=1e-5)


def test_the_table_and_the_files_say_the_same(here, capsys):
    file = "music/tone/00.flac"
    for suffix in ("json", "csv", "parquet"):
        predict("run", file, "--out", f"one.{suffix}")
    table = capsys.readouterr().out
    content = json.loads(Path("one.json").read_text())
    (row,) = content["predictions"]
    assert content["model"] == "linear on mel" and content["failed"] == []
    assert row["path"] == file and row["seconds"] == 0.8
    assert f"| {row['genre']} " in table and f" {row['probability']:.3f} " in table
    assert sum(row[name] for name in COLUMNS) == pytest.approx(1)
    pd.testing.assert_frame_equal(pd.read_csv("one.csv"), pd.read_parquet("one.parquet"))
    assert pd.read_csv("one.csv").iloc[0].to_dict() == pytest.approx(row)


def test_bad_files_are_named_and_the_rest_is_done(here, tmp_path, capsys):
    shutil.copy("music/tone/00.flac", tmp_path / "good.flac")
    (tmp_path / "text.mp3").write_text("no music")
    (tmp_path / "cut.flac").write_bytes(Path("music/tone/01.flac").read_bytes()[:3000])
    predict("run", str(tmp_path), "--out", str(tmp_path / "out.json"), code=1)
    out, err = capsys.readouterr()
    assert "text.mp3 cannot be decoded" in err and "2 files could not be read" in err
    assert "good.flac" in out
    content = json.loads((tmp_path / "out.json").read_text())
    assert len(content["predictions"]) == 1 and len(content["failed"]) == 2


def test_over_time(here, tmp_path, capsys):
    x = np.concatenate([sound("bass", 5, 3), sound("hiss", 5, 4)])
    soundfile.write(tmp_path / "two.wav", x, RATE)
    files = str(tmp_path / "two.wav"), "--pictures", str(tmp_path / "pictures")
    predict("run", *files, "--over-time", "--out", str(tmp_path / "out.csv"))
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["second"].tolist() == list(range(10))
    change = np.abs(table[COLUMNS].diff()).max(axis=1)
    assert change.idxmax() == 5
    assert "| 0:00" in capsys.readouterr().out
    picture = matplotlib.image.imread(tmp_path / "pictures" / "two-over-time.png")
    assert picture.shape[0] > 300 and picture.std() > 0.1


def test_seconds_of_one_genre_are_one_run():
    found = runs(["a", "a", "b", "a"], np.array([0.5, 0.7, 0.9, 0.4]))
    expected = [(0, 2, "a", 0.6), (2, 3, "b", 0.9), (3, 4, "a", 0.4)]
    assert found == [Stretch(*row[:3], pytest.approx(row[3])) for row in expected]
    assert [clock(s) for s in (0, 61, 3600)] == ["0:00", "1:01", "1:00:00"]


@pytest.mark.parametrize(("multilabel", "num"), [(False, 3), (False, 25), (True, 25)])
def test_pictures_of_many_classes_and_hours(tmp_path, multilabel, num):
    prob_NK = np.random.default_rng(0).dirichlet(np.ones(num), 36_000)
    classes = tuple(f"class {i}" for i in range(num))
    draw(tmp_path / "x.png", "ten hours", classes, prob_NK, multilabel)
    assert matplotlib.image.imread(tmp_path / "x.png").std() > 0.1


def test_abstaining_follows_from_the_validation_tracks(here, capsys):
    predict("run", "music", "--out", "plain.csv")
    kept = GenreModel.from_pretrained("run").config.calibration["thresholds"]
    precision, least, _ = kept[-1]
    predict("run", "music", "--out", "sure.csv", "--min-precision", str(precision))
    assert f"unknown below a probability of {least:.3f}" in capsys.readouterr().err
    plain, sure = pd.read_csv("plain.csv"), pd.read_csv("sure.csv")
    answered = plain["probability"] >= least
    assert 0 < answered.sum() < len(plain)
    assert (sure["genre"] == plain["genre"].where(answered, "unknown")).all()


def test_a_tree_rolls_up(here, tmp_path):
    (tmp_path / "tree.yaml").write_text("pitched: [bass, tone]\n")
    given = "run", "music", "--tree", str(tmp_path / "tree.yaml")
    predict(*given, "--out", "tree.csv")
    genres = set(pd.read_csv("tree.csv")["genre"])
    assert genres == {"hiss", "pitched > bass", "pitched > tone"}
    predict(*given, "--min-precision", "0.6", "--out", "tree.csv")
    genres = set(pd.read_csv("tree.csv")["genre"])
    assert genres <= {"hiss", "pitched", "pitched > bass", "pitched > tone", "unknown"}
    assert len(genres) > 1


def test_listening_to_less(here, tmp_path):
    soundfile.write(tmp_path / "long.flac", sound("tone", 90, 0), RATE)
    found = {}
    for listen in ("all", "30s-middle", "3x10s"):
        out = tmp_path / f"{listen}.csv"
        predict("run", str(tmp_path / "long.flac"), "--listen", listen, "--out", str(out))
        found[listen] = pd.read_csv(out)[COLUMNS].iloc[0]
    for listen in ("30s-middle", "3x10s"):  # the same sound from start to end, but other chunks
        assert 0 < np.abs(found[listen] - found["all"]).max() < 0.05


def test_attributions_add_up():
    torch.manual_seed(0)
    model = create_model("fcn", num_classes=3).eval()
    samples = np.int16(20_000 * sound("tone", 1.1, 0))
    found = explain.explain(model, samples, 1)
    assert found.spectrogram_FN.shape == found.attribution_FN.shape
    total = found.attribution_FN.sum(dtype=np.float64)
    assert total == pytest.approx(found.logit - found.baseline, abs=found.gap + 1e-4)
    assert found.gap < 0.1 * max(abs(found.logit - found.baseline), 0.1)


def test_what_mattered_is_where_the_sound_is(here, tmp_path):
    model = GenreModel.from_pretrained("run")
    x_T = np.zeros(RATE // 2)
    x_T[: RATE // 4] = 0.5 * np.sin(2 * np.pi * 900 * np.arange(RATE // 4) / RATE)
    found = explain.explain(model, np.int16(x_T * 32767), GENRES.index("tone"))
    by_frame = np.abs(found.attribution_FN).sum(0)
    assert by_frame[:15].min() > 0
    assert by_frame[18:].max() == 0  # silence is the baseline


def test_explain_draws(here, tmp_path):
    predict("run", "music/tone/00.flac", "--explain", "--pictures", str(tmp_path))
    assert matplotlib.image.imread(tmp_path / "00-explained.png").std() > 0.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "gone.mp3"], "gone.mp3 does not exist"),
        (["runs", "music"], "runs"),
        (["music", "music"], "music holds no model: neither model/config.json nor config.json."),
        (["run", "music", "--out", "x.txt"], "--out x.txt must end in .json or .csv or .parquet."),
        (["run", "music", "--listen", "some"], "--listen=some must be one of all, 30s-middle"),
        (["run", "music", "--min-precision", "2"], "--min-precision 2 must lie in 0 to 1."),
        (["run", "music", "--min-precision", "1"], "no threshold gave that precision"),
        (["run", "music", "--tree", "no.yaml"], "--tree no.yaml cannot be read as YAML: No such"),
        (["x.onnx", "music"], "x.onnx is not a file; give one that `python -m zoo.export` wrote."),
    ],
)
def test_wrong_input_is_one_sentence(here, arguments, sentence):
    with pytest.raises(InputError) as error:
        main(arguments)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_weights(here, tmp_path, python: Run):
    shutil.copytree("run/model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    done = python("zoo.predict", str(tmp_path / "model"), "music", cwd=here)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "model.safetensors does not hold its weights: No such file" in done.stderr


def test_a_name_that_controls_the_terminal_does_not(here, tmp_path, capsys):
    shutil.copy("music/tone/00.flac", tmp_path / "a\x1b[2J\nb.flac")
    predict("run", str(tmp_path))
    assert "a?[2J?b.flac" in capsys.readouterr().out
