"""Training from the weights of a checkpoint."""

from pathlib import Path

import pytest
import torch

import zoo
from conftest import TINY_SYNTH, Run
from zoo.config import compose
from zoo.errors import InputError
from zoo.finetune import source_of, take_weights
from zoo.model import GenreModel


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A CRNN with weights of its own."""
    torch.manual_seed(1)
    zoo.create_model("crnn", num_classes=3).save_pretrained(tmp_path / "model")
    return tmp_path


def weights(model: GenreModel, head: bool) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if k.startswith("head.") == head}


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("num_classes", [3, 5])
def test_the_head_is_new_unless_the_classes_are_equal(checkpoint: Path, num_classes: int) -> None:
    source = source_of(compose("train", ["model=crnn", f"checkpoint={checkpoint}"]))
    assert source is not None
    model = zoo.create_model("crnn", num_classes=num_classes)
    before = weights(model, head=True)
    told = take_weights(model, source)
    assert equal(weights(model, head=False), source.state_dict())
    if num_classes == 3:
        assert equal(weights(model, head=True), source.state_dict()) and "its head too" in told
    else:
        assert equal(weights(model, head=True), before)
        assert "with a new head: its 3 classes are not these 5" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model=linear",), "is one of model=crnn, not of linear"),
        (("model=crnn", "frontend=cqt"), "is crnn with mel, not crnn with cqt"),
        (("model=crnn", "frontend.hop_length=128"), "give frontend.hop_length=256 as well"),
        (("model=crnn", "frontend.compression=log"), "give frontend.compression=db as well"),
    ],
)
def test_what_differs_is_refused(
    checkpoint: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        source_of(compose("train", [*arguments, f"checkpoint={checkpoint}"]))


def test_settings_that_leave_the_shapes_alone_are_refused(tmp_path: Path) -> None:
    zoo.create_model("conformer").save_pretrained(tmp_path)
    given = ["model=conformer", "model.backend.num_heads=8", f"checkpoint={tmp_path}"]
    with pytest.raises(InputError, match=r"give model\.backend\.num_heads=4 as well"):
        source_of(compose("train", given))


def test_frozen_kernels_may_become_trainable(checkpoint: Path) -> None:
    given = ["model=crnn", f"checkpoint={checkpoint}"]
    source = source_of(compose("train", [*given, "frontend.trainable=true"]))
    assert source is not None
    model = zoo.create_model("crnn", num_classes=3, overrides=["frontend.trainable=true"])
    take_weights(model, source)
    assert equal(source.state_dict(), model.state_dict())
    model.save_pretrained(checkpoint / "model")
    assert compose("train", given).frontend.trainable  # as the checkpoint says
    with pytest.raises(InputError, match=r"give frontend\.trainable=True as well"):
        source_of(compose("train", [*given, "frontend.trainable=false"]))


def test_training_starts_from_a_published_file(shared: Path, tmp_path: Path, python: Run) -> None:
    file = shared / "peers" / "sota-music-tagging" / "mtat_fcn.safetensors"
    short = ("epochs=1", "clip_seconds=2", "ema_decay=0", "optimizer.lr=1e-9", *TINY_SYNTH)
    arguments = ("model=fcn", f"checkpoint={file}", "output_dir=run", *short)
    done = python("zoo.train", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "with a new head: its 50 classes are not these 8" in done.stdout
    source, tuned = zoo.create_model("fcn", checkpoint=file), zoo.load_model(tmp_path / "run")
    for (name, theirs), ours in zip(
        source.backend.named_parameters(), tuned.backend.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0, msg=name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, python: Run) -> None:
    done = python("zoo.train", "model=fcn", "checkpoint=nope.pth", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: checkpoint=nope.pth does not exist."
    assert not list(tmp_path.iterdir())
