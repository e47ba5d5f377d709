"""One contract for everything registered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.registry import build_named, choices

KINDS = {name: build_named("frontend", name, {}).kind for name in zoo.list_frontends()}
ACCEPTS = {name: build_named("model", name, {}, 1, 96).accepts for name in zoo.list_models()}
PAIRS = [(m, f) for m in zoo.list_models() for f in KINDS if KINDS[f] in ACCEPTS[m]]


def waveforms(model: GenreModel, seconds: float = 2.0, batch: int = 3) -> torch.Tensor:
    samples = max(model.min_samples, int(seconds * model.sample_rate))
    return 0.3 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=PAIRS, ids="-".join)
def model(request: pytest.FixtureRequest) -> GenreModel:
    torch.manual_seed(0)
    name, frontend = request.param
    return zoo.create_model(name, frontend=frontend, num_classes=5)


def test_shapes_and_finite(model: GenreModel) -> None:
    x = waveforms(model)
    features = model.frontend(x)
    if model.frontend.kind == "spectrogram":
        assert features.shape[1:3] == (model.frontend.num_channels, model.frontend.num_bins)
    else:
        assert features.ndim == 2
    assert abs(features.shape[-1] - x.shape[1] / model.sample_rate * model.frontend.frame_rate) <= 1
    assert model.embed(x).shape == (3, model.backend.num_features)
    for sound in (x, torch.zeros_like(x), torch.ones_like(x)):
        logits = model(sound)
        assert logits.shape == (3, 5) and logits.isfinite().all()


def test_every_parameter_gets_a_gradient(model: GenreModel) -> None:
    model.train()(waveforms(model, seconds=5.0, batch=4)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0 or name.endswith("conv.bias"), name


def test_batch_equals_single(model: GenreModel) -> None:
    model.eval()
    x = waveforms(model)
    single = torch.cat([model(row[None]) for row in x])
    torch.testing.assert_close(model(x), single, atol=1e-4, rtol=1e-4)


def test_shortest_clip_and_a_minute(model: GenreModel) -> None:
    model.eval()
    for samples in (model.min_samples, model.min_samples + 1, 60 * model.sample_rate):
        assert model(torch.randn(1, samples) / 10).isfinite().all()
    with pytest.raises(ValueError, match=f"at least {model.min_samples} samples"):
        model(torch.randn(1, model.min_samples - 1))


def test_autocast(model: GenreModel) -> None:
    x = waveforms(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(x).float().square().sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_save_and_load_give_identical_output(model: GenreModel, tmp_path: Path) -> None:
    model.train()(waveforms(model))  # moves the running statistics
    model.eval().save_pretrained(tmp_path)
    loaded = zoo.load_model(tmp_path)
    x = waveforms(model)
    assert torch.equal(loaded(x), model(x))
    assert loaded.config == model.config and not loaded.training
    saved = {n for n in load_file(tmp_path / "model.safetensors") if n.startswith("frontend")}
    assert saved == {f"frontend.{name}" for name, _ in model.frontend.named_parameters()}


def test_layer_groups_cover_each_parameter_once(model: GenreModel) -> None:
    modules = [module for group in model.backend.layer_groups() for module in group]
    grouped = [id(p) for module in modules for p in module.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in model.backend.parameters())


@pytest.mark.parametrize("name", [m for m in ACCEPTS if "spectrogram" in ACCEPTS[m]])
@pytest.mark.parametrize("shape", [(1, 96, 188), (1, 13, 96), (2, 257, 311)])
def test_any_size_of_spectrogram(name: str, shape: tuple[int, int, int]) -> None:
    backend = build_named("model", name, {}, *shape[:2])
    frames = max(shape[2], backend.min_frames)
    assert backend(torch.randn(2, *shape[:2], frames)).shape == (2, backend.num_features)


@pytest.mark.parametrize("name", zoo.list_models())
def test_front_ends_that_do_not_fit_are_refused(name: str) -> None:
    fitting = [f for f in KINDS if KINDS[f] in ACCEPTS[name]]
    for frontend in set(KINDS) - set(fitting):
        with pytest.raises(InputError) as caught:
            zoo.create_model(name, frontend=frontend)
        assert str(caught.value) == (
            f"model={name} does not take frontend={frontend} (a {KINDS[frontend]}); "
            f"those that fit: {', '.join(fitting)}."
        )


def test_linear_is_mean_and_deviation() -> None:
    x = torch.randn(4, 1, 7, 50, dtype=torch.float64)
    backend = build_named("model", "linear", {}, 1, 7).eval()
    mean, deviation = x.numpy().mean(-1), x.numpy().std(-1)
    expected = np.concatenate([mean, deviation], axis=2)[:, 0] / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(backend(x).numpy(), expected, atol=1e-4)


def test_create_model_takes_overrides_and_refuses_mistakes(tmp_path: Path) -> None:
    model = zoo.create_model(
        "crnn", num_classes=3, overrides=["model.backend.dropout=0.3", "frontend.n_mels=64"]
    )
    assert model.frontend.num_bins == 64
    assert {m.p for m in model.backend.modules() if isinstance(m, nn.Dropout)} == {0.3}
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"did you mean crnn\?"):
        zoo.create_model("crn")
    with pytest.raises(InputError, match="is crnn with mel, not linear"):
        zoo.create_model("linear", checkpoint=tmp_path)
    with pytest.raises(InputError, match="has 3 classes, not 4"):
        zoo.create_model("crnn", checkpoint=tmp_path, num_classes=4)
    assert len(zoo.create_model("crnn", checkpoint=tmp_path).config.classes) == 3


@pytest.mark.parametrize("damage", ["no config", "target", "cut", "other weights", "missing"])
def test_what_is_no_model_is_refused(damage: str, tmp_path: Path) -> None:
    zoo.create_model("linear").save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    if damage == "no config":
        config.unlink()
    elif damage == "target":  # code named by somebody else's file is never run
        config.write_text(config.read_text().replace('"n_mels"', '"_target_"'))
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "other weights":
        config.write_text(config.read_text().replace('"linear"', '"crnn"'))
    else:
        weights.unlink()
    with pytest.raises(InputError):
        zoo.load_model(tmp_path)


def test_registry_names_what_it_lists() -> None:
    assert {"crnn", "linear", "sample_cnn", "short_chunk_cnn"} <= set(zoo.list_models())
    assert {"cqt", "mel", "waveform"} <= set(zoo.list_frontends())
    assert zoo.list_datasets() == list(choices("dataset"))
