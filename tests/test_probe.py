"""Heads on embeddings that are computed once and kept."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

import zoo
from conftest import TINY_SYNTH, Run, torchrun, write_music
from zoo import embeddings
from zoo.config import compose
from zoo.embeddings import embed_tracks, folder_of
from zoo.errors import InputError
from zoo.evaluate import main as evaluate
from zoo.heads import Nearest, Standard, prototypes, regressions
from zoo.model import GenreModel
from zoo.prepare import decode_tracks, load_manifest
from zoo.results import read_result
from zoo.runtime import make_accelerator
from zoo.scores import score_tracks
from zoo.train import main as train

QUICK = ("model=crnn", "clip_seconds=1.6", "threads=1", "precision=fp32", *TINY_SYNTH)
CHUNKS = 2  # of each of its tracks
METHODS = ("head", "prototype", "knn")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CRNN with weights and statistics of its own."""
    torch.manual_seed(1)
    model = zoo.create_model("crnn", num_classes=3, overrides=["clip_seconds=1.6"])
    model(torch.randn(8, 25_600))  # so that the norms have seen something
    folder = tmp_path_factory.mktemp("source")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


def values(method: str, source: Path, cache: Path, *more: str) -> list[str]:
    given = [f"finetune={method}", f"checkpoint={source}", f"cache_dir={cache}"]
    return [*QUICK, *given, *more]


@pytest.fixture(scope="module")
def runs(
    source: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory, python: Run
) -> dict[str, Path]:
    """A run of each method; the first as a user starts it."""
    folder = tmp_path_factory.mktemp("runs")
    done = python("zoo.train", *values("head", source, cache), "output_dir=head", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"one pass over what is not in {cache / 'embeddings'}" in done.stdout
    assert "with a new head: a probe fits its own" in done.stdout
    for method in METHODS[1:]:
        train(compose("train", values(method, source, cache, f"output_dir={folder / method}")))
    return {method: folder / method for method in METHODS}


def files(cache: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (cache / "embeddings").rglob("*.*")}


def never(*_: object) -> None:
    raise AssertionError("the model ran")


def prepared(cache: Path, source: Path, *more: str) -> tuple[GenreModel, Any, Any, Any]:
    """What `embed_tracks` takes: model, data, accelerator and configuration."""
    config = compose("train", values("head", source, cache, *more))
    model = replace_clip(zoo.load_model(source), config.clip_seconds)
    data = decode_tracks(load_manifest(config), config, model.sample_rate)
    return model, data, make_accelerator(config.precision), config


def replace_clip(model: GenreModel, seconds: float) -> GenreModel:
    model.config = replace(model.config, clip_seconds=seconds)
    return model


# --- runs


@pytest.mark.parametrize("method", METHODS)
def test_a_run_holds_what_any_other_holds(method: str, runs: dict[str, Path], source: Path) -> None:
    run, model = runs[method], zoo.load_model(runs[method])
    result = read_result(run)
    head = sum(parameter.numel() for parameter in model.head.parameters())
    assert result.costs.trainable_parameters == (head if method == "head" else 0)
    assert result.costs.epochs == result.best_epoch == 1
    assert result.costs.clips_per_second * result.costs.train_seconds == pytest.approx(64 * CHUNKS)
    log = pd.read_csv(run / "log.csv")
    assert len(log) == 1 and log["train_loss"].notna().all()
    assert log["validation_accuracy"][0] == result.metrics["validation"]["accuracy"]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    backbone = zoo.load_model(source).state_dict()
    for name, tensor in model.state_dict().items():  # the norms' statistics among them
        assert name.startswith("head.") or torch.equal(tensor, backbone[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_audio_gives_the_scores_that_the_embeddings_gave(
    method: str, runs: dict[str, Path], cache: Path, source: Path
) -> None:
    _, data, accelerator, config = prepared(cache, source)
    model = zoo.load_model(runs[method])
    for split, name in (("test", "scores"), ("validation", "scores_validation")):
        kept = pd.read_parquet(runs[method] / f"{name}.parquet").filter(like="p:").to_numpy()
        scores = score_tracks(model, data, data.rows(split), accelerator, config)
        np.testing.assert_allclose(scores, kept, atol=1e-5)
        np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)


def test_evaluate_reads_a_run(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([str(runs["knn"]), "--out", str(tmp_path)])
    assert "The " in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "metrics.csv")
    np.testing.assert_allclose(table["result.json"], table["now"], atol=1e-5)


def test_another_probe_does_not_run_the_model(
    runs: dict[str, Path],
    source: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GenreModel, "embed", never)
    before = files(cache)
    others = ["seed=1", "finetune.l2=[0.5]", "loss.label_smoothing=0", "loss.class_weights=true"]
    others += ["dataset.folds=4", "dataset.fold=2", "dataset.shots=2"]
    train(compose("train", values("head", source, cache, *others, f"output_dir={tmp_path / 'a'}")))
    train(compose("train", values("head", source, cache, f"output_dir={tmp_path / 'b'}")))
    assert files(cache) == before and len(before) == 3  # a file for each split
    first, again = read_result(runs["head"]), read_result(tmp_path / "b")
    assert first.metrics == again.metrics and first.recipe == again.recipe
    passed = sum(np.load(file)["seconds"].sum() for file in before)  # counts again
    assert min(first.costs.train_seconds, again.costs.train_seconds) > passed > 0
    assert read_result(tmp_path / "a").metrics != first.metrics


def test_resume_begins_anew_or_prints_the_result(
    runs: dict[str, Path], source: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = values("knn", source, cache, f"output_dir={runs['knn']}", "resume=true")
    before = (runs["knn"] / "result.json").read_text()
    train(compose("train", given))
    assert f"result: {runs['knn'] / 'result.json'}" in capsys.readouterr().out
    (runs["knn"] / "result.json").unlink()
    train(compose("train", given))
    again = read_result(runs["knn"])
    assert again.metrics == again.model_validate_json(before).metrics


@pytest.mark.slow
def test_two_processes_find_the_same_head(runs: dict[str, Path], source: Path, cache: Path) -> None:
    folder = runs["head"].parent
    other = cache / "two"
    given = ("precision=fp32", "output_dir=two", "epochs=1")
    done = torchrun(folder, *values("head", source, other), *given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("L2 of") == 1
    assert read_result(folder / "two").hardware.num_processes == 2
    one, two = (pd.read_parquet(folder / name / "scores.parquet") for name in ("head", "two"))
    np.testing.assert_allclose(two.filter(like="p:"), one.filter(like="p:"), atol=1e-4)
    names = [np.load(file)["names"].tolist() for file in files(other)]
    assert len(names) == 6  # a file for each split and process
    assert sum(map(len, names)) == len({name for part in names for name in part}) == 64


# --- several labels


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tags")
    write_music(folder / "music", ["low", "middle", "high"], per_label=12)
    found = sorted((folder / "music").rglob("*.wav"))
    frame = pd.DataFrame({"path": [f.relative_to(folder) for f in found]}).astype(str)
    frame["label"] = ["loud|" * (i % 2) + f.parent.name for i, f in enumerate(found)]
    frame.to_csv(folder / "tags.csv", index=False)
    return f"dataset.path={folder / 'tags.csv'}"


@pytest.mark.parametrize("method", ["head", "knn"])
def test_several_labels(method: str, tags: str, source: Path, cache: Path, tmp_path: Path) -> None:
    given = ["dataset=manifest", tags, "model=crnn", "precision=fp32", f"finetune={method}"]
    given += [f"checkpoint={source}", f"cache_dir={cache}", "clip_seconds=1.6", "threads=1"]
    train(compose("train", [*given, f"output_dir={tmp_path / 'run'}"]))
    result, model = read_result(tmp_path / "run"), zoo.load_model(tmp_path / "run")
    assert result.protocol.multilabel and model.config.thresholds is not None
    assert result.metrics["test"]["macro_average_precision"] > 0.6
    config = compose("train", given)
    data = decode_tracks(load_manifest(config), config, model.sample_rate)
    scores = score_tracks(model, data, data.rows("test"), make_accelerator("fp32"), config)
    kept = pd.read_parquet(tmp_path / "run" / "scores.parquet").filter(like="p:")
    np.testing.assert_allclose(scores, kept, atol=1e-5)
    assert scores.min() > 0 and scores.max() < 1


def test_prototypes_of_several_labels_are_refused(
    tags: str, source: Path, tmp_path: Path, cache: Path
) -> None:
    given = ["dataset=manifest", tags, "model=crnn", "finetune=prototype", f"cache_dir={cache}"]
    with pytest.raises(InputError, match="finetune=prototype is for one label a track"):
        train(compose("train", [*given, f"checkpoint={source}", f"output_dir={tmp_path / 'a'}"]))


@pytest.mark.parametrize("strengths", ["[]", "[1.0, 0.0]", "[-1.0]"])
def test_strengths_must_be_positive(strengths: str, source: Path, tmp_path: Path) -> None:
    given = [*QUICK, "finetune=head", f"checkpoint={source}", f"finetune.l2={strengths}"]
    with pytest.raises(InputError, match=r"finetune\.l2=.* must be a list of numbers above 0"):
        train(compose("train", [*given, f"output_dir={tmp_path / 'run'}"]))


@pytest.mark.parametrize("typed", ["[1e-3]", "[1, 0.1]", "[10]"])
def test_strengths_may_be_written_as_any_numbers(typed: str) -> None:
    assert all(
        type(x) is float
        for x in compose("train", ["finetune=head", f"finetune.l2={typed}"]).finetune.l2
    )


# --- a head that is no layer, elsewhere


def test_a_model_with_neighbours_is_a_model(runs: dict[str, Path]) -> None:
    model = zoo.load_model(runs["knn"])
    assert model.config.neighbours == {"neighbours": 5, "num_examples": len(model.head.examples)}
    copied, x_BT = pickle.loads(pickle.dumps(model)), torch.randn(2, 25_600)
    created = zoo.create_model("crnn", checkpoint=runs["knn"])
    with torch.no_grad():
        assert torch.equal(copied(x_BT), model(x_BT)) and torch.equal(created(x_BT), model(x_BT))
        with torch.autocast("cpu", torch.bfloat16):  # neighbours are found in float32 all the same
            assert model(x_BT).dtype == torch.float32


@pytest.mark.parametrize("method", ["full", "prototype"])
def test_tuning_goes_on_from_neighbours(
    method: str,
    runs: dict[str, Path],
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = values(method, runs["knn"], cache, "epochs=1", f"output_dir={tmp_path / 'run'}")
    train(compose("train", given))
    why = "its own is no layer" if method == "full" else "a probe fits its own"
    assert f"with a new head: {why}" in capsys.readouterr().out
    assert zoo.load_model(tmp_path / "run").config.neighbours is None


# --- what is kept


def test_what_embeddings_depend_on_is_in_their_folder(source: Path, cache: Path) -> None:
    model, _, accelerator, config = prepared(cache, source)

    def key(changed: GenreModel = model, *more: str) -> Path:
        return folder_of(
            changed, accelerator, compose("train", values("head", source, cache, *more))
        )

    assert key() == folder_of(model, accelerator, config) == key(zoo.load_model(source))
    new_head = zoo.load_model(source)
    new_head.head = torch.nn.Linear(new_head.backend.num_features, 7)
    assert key(new_head) == key() == key(model, "seed=3", "finetune.l2=[1.0]", "batch_size=16")
    other = zoo.load_model(source)
    with torch.no_grad():
        next(other.backend.parameters()).view(-1)[0] += 1e-6
    statistics = zoo.load_model(source)
    next(statistics.backend.buffers()).add_(1e-6)
    keys = {
        key(),
        key(other),
        key(statistics),
        key(replace_clip(zoo.load_model(source), 2.0)),
        key(model, "evaluation=published"),
        folder_of(model, make_accelerator("bf16"), config),
    }
    assert len(keys) == 6


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of clips that a model embeds."""
    seen: list[int] = []
    embed = GenreModel.embed

    def count(self: GenreModel, x_BT: Tensor, augment: Any = None) -> Tensor:
        seen.append(len(x_BT))
        return embed(self, x_BT, augment)

    monkeypatch.setattr(GenreModel, "embed", count)
    return seen


def test_only_new_audio_is_embedded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, accelerator, config = prepared(tmp_path, source)
    seen, folder = counted(monkeypatch), folder_of(model, accelerator, config)
    rows = np.arange(10)
    first = embed_tracks(model, data, rows, accelerator, config, folder)
    assert sum(seen) == 20 and first.features.shape == (20, model.backend.num_features)
    assert first.places.tolist() == np.repeat(rows, CHUNKS).tolist() and first.seconds > 0
    more = embed_tracks(model, data, np.array([12, 3, 3, 5]), accelerator, config, folder)
    assert sum(seen) == 22
    assert more.places.tolist() == np.repeat([0, 1, 2, 3], CHUNKS).tolist()
    for place, row in ((1, 3), (2, 3), (3, 5)):
        same = first.features[first.places == row]
        np.testing.assert_array_equal(more.features[more.places == place], same)
    assert model.training is False


def test_damaged_files_are_computed_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, accelerator, config = prepared(tmp_path, source)
    seen, folder = counted(monkeypatch), folder_of(model, accelerator, config)
    rows = np.arange(6)
    first = embed_tracks(model, data, rows, accelerator, config, folder)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    other = np.zeros((4, 3), np.float32)
    np.save(tmp_path / "array.npy", other)
    foreign = (
        b"",
        b"nonsense",
        whole[:-100],
        bytes(flipped),
        (tmp_path / "array.npy").read_bytes(),
    )
    for number, content in enumerate(foreign):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged and ignored"):
            again = embed_tracks(model, data, rows, accelerator, config, folder)
        assert sum(seen) == 12 * (number + 2)
        np.testing.assert_allclose(again.features, first.features, atol=1e-6)
    names = [data.store.content_hashes[row] for row in rows]
    np.savez(file, names=names, counts=[2] * 6, seconds=[0.1] * 6, x_MD=other)
    with pytest.warns(UserWarning, match="its parts disagree"):
        embed_tracks(model, data, rows, accelerator, config, folder)
    assert embed_tracks(model, data, rows, accelerator, config, folder).features.shape[0] == 12


def test_an_interrupted_pass_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "PIECE", 4)
    model, data, accelerator, config = prepared(tmp_path, source)
    seen, folder = counted(monkeypatch), folder_of(model, accelerator, config)
    count = GenreModel.embed

    def interrupted(self: GenreModel, x_BT: Tensor, augment: Any = None) -> Tensor:
        if sum(seen) >= 16:
            raise KeyboardInterrupt
        return count(self, x_BT, augment)

    monkeypatch.setattr(GenreModel, "embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_tracks(model, data, np.arange(10), accelerator, config, folder)
    monkeypatch.setattr(GenreModel, "embed", count)
    assert len(list(folder.iterdir())) == 2
    found = embed_tracks(model, data, np.arange(10), accelerator, config, folder)
    assert sum(seen) == 20 and len(found.features) == 20


def test_embeddings_that_are_no_numbers_are_refused(source: Path, tmp_path: Path) -> None:
    model, data, accelerator, config = prepared(tmp_path, source)
    with torch.no_grad():
        for parameter in model.backend.parameters():
            parameter.fill_(torch.inf)
    folder = folder_of(model, accelerator, config)
    with pytest.raises(InputError, match="hold NaN or infinite values; try precision=fp32"):
        embed_tracks(model, data, np.arange(3), accelerator, config, folder)
    assert not folder.exists()


# --- heads against scikit-learn


def examples(num_classes: int = 4) -> tuple[Tensor, np.ndarray]:
    """Features of several sizes, one that does not vary among them, and classes."""
    random = np.random.default_rng(0)
    label_M = np.resize(np.arange(num_classes), 120)
    centre_KD = random.normal(size=(num_classes, 9))
    x_MD = centre_KD[label_M] + random.normal(size=(120, 9))
    x_MD = x_MD * 10.0 ** random.integers(-3, 3, 9) + random.normal(size=9)
    x_MD[:, 4] = 0.3
    return torch.from_numpy(x_MD.astype(np.float32)), label_M


EVEN = torch.full((120,), 1 / 120)


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_regression_is_that_of_scikit_learn(strength: float) -> None:
    x_MD, label_M = examples()

    def losses(logits_MK: Tensor) -> Tensor:
        return functional.cross_entropy(logits_MK, torch.from_numpy(label_M), reduction="none")

    *_, head = regressions(x_MD, EVEN, 4, losses, [10.0, strength])
    ours = head(x_MD).softmax(-1).numpy(force=True)
    z_MD = StandardScaler().fit_transform(x_MD.double().numpy())
    z_MD[:, 4] = 0
    theirs = LogisticRegression(C=1 / (strength * 120), tol=1e-8, max_iter=10_000)
    np.testing.assert_allclose(ours, theirs.fit(z_MD, label_M).predict_proba(z_MD), atol=1e-3)


def test_regression_of_several_labels_is_one_of_each() -> None:
    x_MD, label_M = examples()
    target_MK = np.stack([label_M % 2, label_M // 2, label_M == 1], axis=1)

    def losses(logits_MK: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            logits_MK, torch.from_numpy(target_MK).double(), reduction="none"
        ).sum(1)

    (head,) = regressions(x_MD, EVEN, 3, losses, [1e-2])
    z_MD = StandardScaler().fit_transform(x_MD.double().numpy())
    z_MD[:, 4] = 0
    each = OneVsRestClassifier(LogisticRegression(C=1 / 1.2, tol=1e-8)).fit(z_MD, target_MK)
    ours = head(x_MD).sigmoid().numpy(force=True)
    np.testing.assert_allclose(ours, each.predict_proba(z_MD), atol=1e-3)


def test_weights_count_as_repetitions() -> None:
    x_MD, label_M = examples()
    times_M = torch.from_numpy(1 + label_M)
    repeated = torch.arange(120).repeat_interleave(times_M)

    def fitted(rows: Tensor, weight_M: Tensor) -> Tensor:
        targets = torch.from_numpy(label_M)[rows]
        onehot = functional.one_hot(targets)

        def losses(logits_MK: Tensor) -> Tensor:
            return functional.cross_entropy(logits_MK, targets, reduction="none")

        (head,) = regressions(x_MD[rows], weight_M, 4, losses, [1e-2])
        (means,) = prototypes(x_MD[rows], weight_M, onehot, [1.0])
        return torch.cat([head(x_MD), means(x_MD)]).softmax(-1)

    weighted = fitted(torch.arange(120), times_M / times_M.sum())
    even = torch.full((len(repeated),), 1 / len(repeated))
    torch.testing.assert_close(weighted, fitted(repeated, even), atol=1e-4, rtol=0)


def test_prototypes_are_the_nearest_centroids_of_scikit_learn() -> None:
    x_MD, label_M = examples()
    onehot_MK = torch.from_numpy(np.eye(4)[label_M])
    flat, sharp = prototypes(x_MD, EVEN, onehot_MK, [0.5, 5.0])
    standard = Standard.of(x_MD.double(), EVEN.double())
    z_MD = standard(x_MD.double()).numpy()
    theirs = NearestCentroid().fit(z_MD, label_M)
    assert (flat(x_MD).argmax(1).numpy() == theirs.predict(z_MD)).all()
    squares_MK = ((z_MD[:, None] - theirs.centroids_) ** 2).sum(-1) / z_MD.shape[1]
    for layer, scale in ((flat, 0.5), (sharp, 5.0)):
        expected = torch.from_numpy(-squares_MK * scale).softmax(-1).float()
        torch.testing.assert_close(layer(x_MD).softmax(-1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("neighbours", [1, 5, 500])
def test_neighbours_are_those_of_scikit_learn(neighbours: int) -> None:
    x_MD, label_M = examples()
    x_MD = Standard.of(x_MD, EVEN)(x_MD)
    head = Nearest.of(x_MD[:80], torch.from_numpy(np.eye(4)[label_M[:80]]), False, neighbours)
    theirs = KNeighborsClassifier(
        min(neighbours, 80), weights=lambda d: np.exp((1 - d) / 0.07), metric="cosine"
    ).fit(x_MD[:80], label_M[:80])
    ours = head(x_MD[80:]).softmax(-1).numpy()
    assert (ours.argmax(1) == theirs.predict(x_MD[80:])).all()
    votes = min(neighbours, 80)
    expected = votes * theirs.predict_proba(x_MD[80:]) + (20 + 1) / (80 + 2)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_votes_for_several_labels_are_shares() -> None:
    x_MD = functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    target_MK = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    head = Nearest.of(x_MD, target_MK, True, 2)
    share_K = (torch.tensor([2.0, 1.0, 0.0]) + 1) / 5
    expected = (torch.tensor([2.0, 1.0, 0.0]) + share_K) / 3
    torch.testing.assert_close(head(torch.tensor([[3.0, 0.0]])).sigmoid()[0], expected)
    assert head(torch.zeros(1, 2)).isfinite().all()
