"""The whole way, from files to a result that can be computed again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import soundfile
import torch

import zoo
from conftest import TINY_SYNTH, Run, write_music
from zoo.config import compose
from zoo.errors import InputError
from zoo.evaluate import main as evaluate
from zoo.results import read_result
from zoo.train import main as train

QUICK = ("epochs=2", "threads=2", "clip_seconds=3")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, python: Run) -> Path:
    """A CRNN trained on a tiny `synth` as a user does, from a folder of the user's own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    arguments = ("model=crnn", "output_dir=here/run", *TINY_SYNTH, *QUICK)
    done = python("zoo.train", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "rank it: python -m leaderboard show" in done.stdout
    assert "told apart" in done.stdout and "clave" in done.stdout
    return folder / "here" / "run"


def test_run_folder_holds_what_it_should(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert names == {
        *("result.json", "scores.parquet", "scores_validation.parquet", "confusion.png"),
        *("curves.png", "log.csv", "split.csv", "config.yaml", "model", "checkpoints"),
    }
    assert {p.name for p in (run / "model").iterdir()} == {
        *("config.json", "model.safetensors", "README.md"),
    }
    assert len(pd.read_csv(run / "log.csv")) == 2
    split = pd.read_csv(run / "split.csv", keep_default_na=False)
    assert split.groupby("artist")["split"].nunique().max() == 1
    for picture in ("confusion.png", "curves.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")


def test_result_is_what_the_scores_give(run: Path) -> None:
    content = json.loads((run / "result.json").read_text())
    scores = pd.read_parquet(run / "scores.parquet")
    classes = content["protocol"]["classes"]
    assert list(scores) == ["track", "label", "artist", "group", *(f"p:{c}" for c in classes)]
    probabilities = scores[[f"p:{c}" for c in classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    guesses = np.array(classes)[probabilities.argmax(1)]
    accuracy = sklearn.metrics.accuracy_score(scores["label"], guesses)
    assert content["metrics"]["test"]["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    split = pd.read_csv(run / "split.csv")
    assert set(scores["track"]) == set(split["track"][split["split"] == "test"])
    assert content["seed"] == 0 and content["threads"] == 2
    assert content["costs"]["parameters"] == sum(
        p.numel() for p in zoo.load_model(run).parameters()
    )


def test_evaluate_gives_the_same_numbers_exactly(run: Path, python: Run, tmp_path: Path) -> None:
    again = python("zoo.evaluate", str(run), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "The same numbers, exactly." in again.stdout
    wrong = python("zoo.evaluate", str(run), "--set", "evaluation=publishd", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "evaluation=publishd must be one of complete, published." in wrong.stderr


def test_evaluation_is_part_of_the_protocol(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([str(run), "--set", "evaluation=published", "--out", str(tmp_path)])
    assert "by evaluation=published, in result.json complete." in capsys.readouterr().out
    assert {f.name for f in tmp_path.iterdir()} == {
        *("metrics.csv", "scores.parquet", "scores_validation.parquet"),
    }
    values = ["model=linear", "epochs=1", "evaluation=published", *TINY_SYNTH]
    train(compose("train", [*values, f"output_dir={tmp_path / 'run'}"]))
    assert read_result(tmp_path / "run").protocol.evaluation == "published"


@pytest.mark.slow
def test_same_seed_same_scores_other_seed_other_scores(run: Path, tmp_path: Path) -> None:
    def scores(seed: int) -> np.ndarray:
        folder = tmp_path / str(seed)
        values = ("model=crnn", f"output_dir={folder}", f"seed={seed}", *TINY_SYNTH, *QUICK)
        train(compose("train", values))
        return pd.read_parquet(folder / "scores.parquet").filter(like="p:").to_numpy()

    first = pd.read_parquet(run / "scores.parquet").filter(like="p:").to_numpy()
    assert np.array_equal(scores(0), first)
    assert not np.array_equal(scores(1), first)
    assert read_result(tmp_path / "1").recipe == read_result(run).recipe


def test_folder_of_another_run_is_refused(run: Path) -> None:
    with pytest.raises(InputError, match="already holds a run"):
        train(compose("train", ["model=linear", f"output_dir={run}", *TINY_SYNTH]))
    changed = ["model=linear", f"output_dir={run}", "resume=true", *TINY_SYNTH]
    with pytest.raises(InputError, match="another recipe"):
        train(compose("train", changed))


class Exhausted(torch.nn.Module):
    """A back end whose device holds no more than four clips."""

    def __init__(self, backend: torch.nn.Module) -> None:
        super().__init__()
        self.inner = backend
        self.num_features, self.min_frames = backend.num_features, backend.min_frames
        self.channels_last, self.precision = backend.channels_last, backend.precision
        self.accepts, self.sizes = backend.accepts, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            if len(x) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.sizes.append(len(x))
        return self.inner(x)


def test_out_of_memory_halves_the_micro_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo import trainer

    made: list[Exhausted] = []
    original = trainer.Trainer.__init__

    def with_small_memory(self, config, model, *rest) -> None:
        model.backend = Exhausted(model.backend)
        made.append(model.backend)
        original(self, config, model, *rest)

    monkeypatch.setattr(trainer.Trainer, "__init__", with_small_memory)
    monkeypatch.setattr(trainer.Trainer, "_save", lambda self, **_: self_destruct())

    def self_destruct() -> None:
        raise KeyboardInterrupt

    values = ["model=linear", f"output_dir={tmp_path}", *TINY_SYNTH, *QUICK]
    with pytest.raises(KeyboardInterrupt):
        train(compose("train", values))
    assert set(made[0].sizes) == {4}
    assert "going on with 4 clips at a time" in capsys.readouterr().out


def test_tags_and_label_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_music(tmp_path / "music", ["low", "middle", "high"], per_label=12)
    files = sorted((tmp_path / "music").rglob("*.wav"))
    frame = pd.DataFrame({"path": [f.relative_to(tmp_path) for f in files]}).astype(str)
    frame["label"] = ["loud|" * (i % 2) + f.parent.name for i, f in enumerate(files)]
    frame.to_csv(tmp_path / "tags.csv", index=False)
    source = ["dataset=manifest", f"dataset.path={tmp_path / 'tags.csv'}"]
    train(compose("train", ["model=linear", "epochs=3", f"output_dir={tmp_path / 'run'}", *source]))
    result = read_result(tmp_path / "run")
    assert result.protocol.multilabel and result.primary == "macro_average_precision"
    assert "accuracy" not in result.metrics["test"]
    thresholds = zoo.load_model(tmp_path / "run").config.thresholds
    assert thresholds is not None and len(thresholds) == 4
    evaluate([str(tmp_path / "run")])
    assert "The same numbers, exactly." in capsys.readouterr().out

    elsewhere = frame.assign(label=[f.parent.name.upper() for f in files])
    elsewhere.to_csv(tmp_path / "others.csv", index=False)
    call = [str(tmp_path / "run"), "--dataset", "manifest"]
    call += ["--set", f"dataset.path={tmp_path / 'others.csv'}"]
    with pytest.raises(InputError, match="--label-map"):
        evaluate(call)
    names = tmp_path / "names.yaml"
    names.write_text("LOW: low\nMIDDLE: middle\nHIGH: null\n")
    evaluate([*call, "--label-map", str(names), "--out", str(tmp_path / "out")])
    assert "24 tracks of others" in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / "out" / "scores.parquet")) == 24


def test_folds_cover_everything_once(tmp_path: Path) -> None:
    write_music(tmp_path / "music", ["low", "high"], per_label=10)
    source = ["dataset=folder", f"dataset.path={tmp_path / 'music'}", "dataset.folds=3"]
    tested: list[str] = []
    for fold in range(3):
        folder = tmp_path / f"fold{fold}"
        values = ["model=linear", "epochs=1", f"dataset.fold={fold}", f"output_dir={folder}"]
        train(compose("train", values + source))
        tested += pd.read_parquet(folder / "scores.parquet")["track"].tolist()
    assert len(tested) == len(set(tested)) == 20
    assert len({read_result(tmp_path / f"fold{k}").recipe for k in range(3)}) == 1


@pytest.mark.slow
def test_own_music_of_every_kind(tmp_path: Path) -> None:
    """WAV, FLAC, MP3, OGG, mono and stereo, 8 to 96 kHz, 0.5 s to 10 minutes; four broken ones."""
    random = np.random.RandomState(0)
    music = tmp_path / "my music"
    kinds = [("wav", 8000), ("wav", 96_000), ("flac", 44_100), ("mp3", 48_000), ("ogg", 22_050)]
    for c, label in enumerate(("Café", "it's")):
        (music / label).mkdir(parents=True)
        for number in range(50):
            suffix, rate = kinds[number % len(kinds)]
            seconds = 0.5 if number % 7 == 0 else 2.0
            t = np.arange(int(rate * seconds)) / rate
            x = 0.3 * np.sin(2 * np.pi * (300 + 600 * c) * t) + 0.01 * random.uniform(size=len(t))
            samples = np.stack([x, x], 1) if number % 2 else x
            soundfile.write(music / label / f"{number}.{suffix}", samples, rate)
    ten_minutes = 0.1 * random.uniform(-1, 1, 600 * 8000)
    soundfile.write(music / "Café" / "long.flac", ten_minutes, 8000)
    (music / "Café" / "text.mp3").write_text("this is not music")
    (music / "Café" / "empty.wav").touch()
    whole = (music / "it's" / "2.flac").read_bytes()
    (music / "it's" / "cut.flac").write_bytes(whole[: len(whole) // 2])
    values = ["model=crnn", "epochs=1", "dataset=folder", f"dataset.path={music}"]
    train(compose("train", [*values, f"output_dir={tmp_path / 'run'}"]))
    left_out = pd.read_csv(tmp_path / "run" / "left_out.csv")
    assert {Path(p).name for p in left_out["path"]} == {"text.mp3", "empty.wav", "cut.flac"}
    assert left_out["reason"].str.len().min() > 5
    result = read_result(tmp_path / "run")
    assert result.left_out == 3 and result.protocol.dataset == "my music"
    assert result.clip_seconds == 10.0  # the longest track is longer


def test_clips_are_as_long_as_the_longest_training_track(run: Path) -> None:
    assert read_result(run).clip_seconds == 3.0
    assert zoo.load_model(run).config.clip_seconds == 3.0


def test_early_stopping_and_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    values = ["model=linear", "epochs=40", "patience=2", "tracker=tensorboard", *TINY_SYNTH]
    train(compose("train", [*values, f"output_dir={tmp_path / 'run'}"]))
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert len(log) == read_result(tmp_path / "run").best_epoch + 2 < 40
    assert list((tmp_path / "run" / "logs").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_accumulation_and_trainable_front_end(tmp_path: Path) -> None:
    """Two micro-batches a step, class weights, mixup and masks, mel filters that learn."""
    values = ["model=crnn", "micro_batch_size=4", "frontend.trainable=true", *TINY_SYNTH, *QUICK]
    values += ["loss.class_weights=true", "augment.mixup=0.3", "augment.time_masks=2"]
    train(compose("train", [*values, f"output_dir={tmp_path / 'run'}"]))
    model = zoo.load_model(tmp_path / "run")
    fresh = zoo.create_model("crnn", overrides=["frontend.trainable=true"])
    assert not torch.equal(model.frontend.mel.mel_basis, fresh.frontend.mel.mel_basis)


@pytest.mark.slow
def test_groove8_is_learnt(shared: Path, tmp_path: Path) -> None:
    """The default recipe on real audio, one seed: well above chance, 0.125."""
    manifest = shared / "data" / "groove8" / "manifest.csv"
    values = ["model=crnn", "dataset=manifest", f"dataset.path={manifest}"]
    train(compose("train", [*values, f"output_dir={tmp_path / 'run'}"]))
    assert read_result(tmp_path / "run").metrics["test"]["accuracy"] > 0.3
