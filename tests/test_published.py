"""Published weights: the same numbers as the published implementation, and what is refused."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.published import class_names
from zoo.tags import TAGS
from zoo.weights import table_of, their_name

INPUT = {"fcn": 464_000, "crnn": 464_000, "musicnn": 48_000}  # samples of the stored waveforms
INPUT |= {"self_attention": 240_000, "harmonic_cnn": 80_000}
TOLERANCE = {"sample_cnn": 1e-5, "sample_cnn_se": 1e-5}  # of logits
PUBLISHED = ["mtat_fcn", "jamendo_fcn", "msd_fcn", "mtat_musicnn", "jamendo_musicnn"]
PUBLISHED += ["jamendo_crnn", "msd_crnn"]
FILLED = ["sample_cnn", "sample_cnn_se", "short_chunk_cnn", "short_chunk_res"]
FILLED += ["self_attention", "harmonic_cnn"]


def waveforms(reference: dict[str, np.ndarray], samples: int) -> Tensor:
    return torch.from_numpy(reference[f"input_{samples}"].astype(np.float32) / 32768)


@pytest.mark.parametrize("name", PUBLISHED)
def test_probabilities_are_the_published_ones(shared: Path, name: str) -> None:
    folder = shared / "peers" / "sota-music-tagging"
    reference = np.load(folder / "reference.npz")
    data, architecture = name.split("_")
    model = zoo.create_model(architecture, checkpoint=folder / f"{name}.safetensors")
    with torch.no_grad():
        logits = model(waveforms(reference, INPUT[architecture]))
    probabilities = model.probabilities(logits).numpy()
    np.testing.assert_allclose(probabilities, reference[f"prob_{name}"], atol=1e-5, rtol=0)
    assert model.config.classes == TAGS[data] and not model.training
    assert model.config.clip_seconds == INPUT[architecture] / model.sample_rate


@pytest.mark.parametrize("name", FILLED)
def test_logits_are_the_published_ones(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "peers" / "sota-music-tagging"
    filled = runpy.run_path(str(shared / "peers" / "fill.py"))["filled"]
    shapes = json.loads((folder / "tensor_names.json").read_text())[name]
    arrays = {n: np.asarray(filled(n, tuple(shape))) for n, shape in shapes.items()}
    file = tmp_path / "weights.safetensors"
    save_file({n: torch.from_numpy(array) for n, array in arrays.items()}, file)
    reference = np.load(folder / "reference_filled.npz")
    model = zoo.create_model(name, checkpoint=file)
    with torch.no_grad():
        logits = model(waveforms(reference, INPUT.get(name, 59_049))).numpy()
    tolerance = TOLERANCE.get(name, 1e-4)
    np.testing.assert_allclose(logits, reference[f"logit_{name}"], atol=tolerance, rtol=0)
    assert model.config.classes == tuple(f"class_{i}" for i in range(50))


def test_tags_are_those_of_the_splits(shared: Path) -> None:
    assert list(TAGS["mtat"]) == (shared / "splits/mtat/tags.txt").read_text().splitlines()
    assert all(len(tags) == len(set(tags)) == 50 for tags in TAGS.values())
    assert TAGS["jamendo"] == tuple(sorted(TAGS["jamendo"]))  # as LabelBinarizer orders them


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("msd_crnn.pth", "msd"),
        ("models/mtat/fcn/best_model.pth", "mtat"),
        ("mtat/Jamendo-musicnn.pt", "jamendo"),  # the nearest name counts
        ("mtat/jamendo_and_msd.pth", None),
        ("models/best.pth", None),
    ],
)
def test_class_names_follow_the_path(file: str, data: str | None) -> None:
    unknown = tuple(f"class_{i}" for i in range(50))
    assert class_names(Path("/home") / file, 50) == (TAGS[data] if data else unknown)
    assert class_names(Path("/home") / file, 3) == ("class_0", "class_1", "class_2")


def theirs(model: GenreModel) -> dict[str, Tensor]:
    """Return a model's weights under their published names."""
    table = table_of(model.config.model)
    assert table is not None
    names = {their_name(name, table): tensor for name, tensor in model.state_dict().items()}
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in names.items()
        if name is not None
    }


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return theirs(zoo.create_model("crnn", num_classes=5))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("form", ["plain", "old", "wrapped", "parallel", "front end"])
def test_pth_equals_safetensors(weights: dict[str, Tensor], file: Path, form: str) -> None:
    save_file(weights, file.with_suffix(".safetensors"))
    content: dict = weights
    if form == "wrapped":
        content = {"state_dict": weights, "epoch": 3}
    elif form == "parallel":
        content = {f"module.{name}": tensor for name, tensor in weights.items()}
    elif form == "front end":
        content = {**weights, "spec.mel_scale.fb": torch.rand(257, 96)}
    torch.save(content, file, _use_new_zipfile_serialization=form != "old")
    ours = zoo.create_model("crnn", checkpoint=file)
    other = zoo.create_model("crnn", checkpoint=str(file.with_suffix(".safetensors")))
    assert ours.config == other.config and ours.config.multilabel
    assert ours.config.classes == tuple(f"class_{i}" for i in range(5))
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())
    assert {name: tensor.tolist() for name, tensor in theirs(ours).items()} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }


def test_a_trainable_front_end_keeps_its_own_kernels(
    weights: dict[str, Tensor], file: Path
) -> None:
    torch.save(weights, file)
    usual = zoo.create_model("crnn", checkpoint=file)
    model = zoo.create_model("crnn", checkpoint=file, overrides=["frontend.trainable=true"])
    x = torch.rand(1, model.min_samples) - 0.5
    torch.testing.assert_close(model(x), usual(x), atol=1e-4, rtol=1e-4)


def refusal(file: Path, name: str = "crnn", **arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        zoo.create_model(name, checkpoint=file, **arguments)
    message = str(caught.value)
    assert message.startswith(f"checkpoint={file}") and message.endswith(".")
    assert "\n" not in message
    return message.removeprefix(f"checkpoint={file}").strip()


def test_files_that_are_none_are_refused(weights: dict[str, Tensor], file: Path) -> None:
    assert refusal(file) == "does not exist."
    other = file.with_suffix(".bin")
    torch.save(weights, other)
    assert refusal(other) == (
        "is neither a run, nor a folder of transformers or timm, nor a file of weights "
        "(.safetensors, .pth, .pt), nor a name on the Hub (owner/model)."
    )
    zoo.create_model("crnn").save_pretrained(file.parent / "model")
    assert refusal(file.parent / "model" / "model.safetensors") == (
        "is part of a model; give its folder."
    )


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_unreadable_files_are_refused(
    weights: dict[str, Tensor], file: Path, suffix: str, damage: str
) -> None:
    file = file.with_suffix(suffix)
    if suffix == ".pth":
        torch.save(weights, file)
    else:
        save_file(weights, file)
    content = file.read_bytes()
    cut = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello\n"}
    file.write_bytes(cut[damage])
    assert refusal(file).startswith("cannot be read: ")


class Other:
    """Anything but a tensor."""


@pytest.mark.parametrize("zipped", [True, False])
def test_more_than_tensors_is_refused(weights: dict[str, Tensor], file: Path, zipped: bool) -> None:
    torch.save({**weights, "x": Other()}, file, _use_new_zipfile_serialization=zipped)
    assert refusal(file).startswith("is no file of tensors alone and is refused")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.ones(3), {"model": {"x": 1.0}}])
def test_what_is_no_state_dict_is_refused(file: Path, content: object) -> None:
    torch.save(content, file)
    assert refusal(file) == "holds no state dict (names and tensors)."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    weights: dict[str, Tensor], file: Path, value: float
) -> None:
    weights["layer2.conv.weight"][3, 1, 0, 0] = value
    torch.save(weights, file)
    assert refusal(file) == ": layer2.conv.weight holds NaN or infinite values."


def test_another_architecture_is_refused_with_what_differs(
    weights: dict[str, Tensor], file: Path
) -> None:
    torch.save(theirs(zoo.create_model("fcn", num_classes=5)), file)
    assert refusal(file) == (
        "does not hold the weights of crnn: missing layer5.weight_ih_l0, layer5.weight_hh_l0, "
        "layer5.bias_ih_l0 and 5 more; unexpected layer5.conv.weight, layer5.conv.bias, "
        "layer5.bn.weight and 4 more; of another shape dense.weight ([5, 64] instead of [5, 32]); "
        "they are those of fcn."
    )
    weights["layer1.conv.weight"] = torch.zeros(64, 1, 5, 5)
    del weights["dense.bias"]
    torch.save(weights, file)
    assert refusal(file) == (
        "does not hold the weights of crnn: missing dense.bias; of another shape "
        "layer1.conv.weight ([64, 1, 5, 5] instead of [64, 1, 3, 3]), "
        "dense.weight ([5, 32] instead of [1, 32])."
    )


def test_other_classes_front_ends_and_models_are_refused(
    weights: dict[str, Tensor], file: Path
) -> None:
    torch.save(weights, file)
    assert zoo.create_model("crnn", frontend="mel", num_classes=5, checkpoint=file)
    assert refusal(file, num_classes=4) == "has 5 classes, not 4."
    fit = ": its weights fit frontend=mel with its defaults, not"
    assert refusal(file, frontend="cqt") == f"{fit} frontend=cqt."
    assert refusal(file, frontend="mel128") == f"{fit} frontend=mel128."
    assert refusal(file, overrides=["frontend.n_mels=64"]) == f"{fit} frontend.n_mels=64."
    assert "model=linear has no published weights; those that have are crnn, " in refusal(
        file, "linear"
    )


def test_musicnn_of_the_million_song_dataset(file: Path) -> None:
    """It is larger than the others: its arguments are given."""
    larger = ["model.backend.channels=512", "model.backend.features=500"]
    torch.save(theirs(zoo.create_model("musicnn", num_classes=50, overrides=larger)), file)
    model = zoo.create_model("musicnn", checkpoint=file, overrides=larger)
    assert model.backend.num_features == 500
    assert "of another shape layer1.conv.weight ([512, 561, 7]" in refusal(file, "musicnn")


def test_harmonic_filters_are_loaded_too(file: Path) -> None:
    weights = theirs(zoo.create_model("harmonic_cnn", num_classes=2))
    weights["hstft.bw_Q"] += 0.5
    torch.save(weights, file)
    assert zoo.create_model("harmonic_cnn", checkpoint=file).frontend.q.item() == 1.5
    del weights["hstft.bw_Q"]
    torch.save(weights, file)
    assert "missing hstft.bw_Q" in refusal(file, "harmonic_cnn")


def test_published_weights_save_and_load(
    weights: dict[str, Tensor], file: Path, tmp_path: Path
) -> None:
    torch.save(weights, file)
    model = zoo.create_model("crnn", checkpoint=file)
    model.save_pretrained(tmp_path / "saved")
    assert len(load_file(tmp_path / "saved" / "model.safetensors")) == len(weights)
    assert zoo.create_model("crnn", checkpoint=tmp_path / "saved").config == model.config
