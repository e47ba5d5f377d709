"""AST: the scores of transformers, positions of clips of any length, poolings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel

from checkpoints import NUM_CLASSES, load, noise, published_logits, save
from zoo.backends.ast import AST, TOKENS, fit_columns
from zoo.backends.hub import changes
from zoo.backends.transformer import Transformer
from zoo.errors import InputError

BINS, FRAMES, PATCH, STRIDE = 40, 100, 8, 10
CONFIG = ASTConfig(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=48,
    initializer_range=0.2,
    num_mel_bins=BINS,
    max_length=FRAMES,
    patch_size=PATCH,
    num_labels=NUM_CLASSES,
)


def patches(length: int) -> int:
    return (length - PATCH) // STRIDE + 1


def clips(frames: int) -> torch.Tensor:
    return noise(3, 400 + (frames - 1) * 160)


def extractor(**changes: Any) -> ASTFeatureExtractor:
    return ASTFeatureExtractor(num_mel_bins=BINS, max_length=FRAMES, mean=-3.0, std=2.0, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ASTForAudioClassification(CONFIG), extractor(), tmp_path_factory.mktemp("ast"))


@torch.no_grad()
@pytest.mark.parametrize("do_normalize", [True, False])
def test_scores_are_those_of_transformers(folder: Path, do_normalize: bool) -> None:
    extractor(do_normalize=do_normalize).save_pretrained(folder)
    model = load("ast", folder)
    x_BT = clips(FRAMES)
    assert model.frontend(x_BT).shape[-1] == FRAMES
    expected = published_logits(ASTForAudioClassification, folder, x_BT)
    torch.testing.assert_close(model(x_BT), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_hidden_states_are_those_of_transformers(folder: Path) -> None:
    model = load("ast", folder, layers="weighted")
    x_BCFN = model.frontend(clips(FRAMES))
    output = model.backend.encode(x_BCFN, all_layers=True)
    published = ASTModel.from_pretrained(folder, config=CONFIG).eval()
    expected = published(x_BCFN.squeeze(1).transpose(1, 2), output_hidden_states=True)
    assert len(output.hidden_states) == len(expected.hidden_states) == 3
    for ours, theirs in zip(output.hidden_states[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.last_hidden_state, expected.last_hidden_state)


def interpolated(grid: np.ndarray, columns: int) -> np.ndarray:
    """Interpolate linearly over the last axis, from the middles of columns to those of others."""
    known = grid.shape[-1]
    at = (np.arange(columns) + 0.5) * known / columns - 0.5
    rows = [np.interp(at, np.arange(known), row) for row in grid.reshape(-1, known)]
    return np.stack(rows).reshape(*grid.shape[:-1], columns)


def test_positions_are_cropped_in_the_middle_and_interpolated() -> None:
    grid = noise(1, 3, 4, 11)
    assert torch.equal(fit_columns(grid, 11), grid)
    assert torch.equal(fit_columns(grid, 5), grid[..., 3:8])
    assert torch.equal(fit_columns(grid, 4), grid[..., 3:7])
    assert torch.equal(fit_columns(grid, 1), grid[..., 5:6])
    assert torch.equal(fit_columns(grid[..., :10], 9), grid[..., 1:10])
    for columns in (12, 29):
        expected = interpolated(grid.numpy(), columns)
        np.testing.assert_allclose(fit_columns(grid, columns).numpy(), expected, atol=1e-6)


def model_of_length(published: ASTModel, frames: int) -> ASTModel:
    """Return transformers' model for clips of another length, its positions by NumPy."""
    model = ASTModel(ASTConfig(**{**published.config.to_dict(), "max_length": frames})).eval()
    state, name = published.state_dict(), "embeddings.position_embeddings"
    rows, known, columns = patches(BINS), patches(FRAMES), patches(frames)
    grid = state[name][0, TOKENS:].numpy().reshape(rows, known, -1).transpose(2, 0, 1)
    start = known // 2 - columns // 2
    grid = grid[..., start:][..., :columns] if columns <= known else interpolated(grid, columns)
    of_patches = torch.from_numpy(grid.reshape(-1, rows * columns).T.astype(np.float32))
    state[name] = torch.cat([state[name][:, :TOKENS], of_patches[None]], dim=1)
    model.load_state_dict(state)
    return model


@torch.no_grad()
@pytest.mark.parametrize("frames", [PATCH, 57, FRAMES, 171])
def test_any_length_is_a_model_with_positions_for_it(folder: Path, frames: int) -> None:
    model = load("ast", folder)
    x_BCFN = model.frontend(clips(frames))
    published = model_of_length(ASTModel.from_pretrained(folder, config=CONFIG), frames)
    expected = published(x_BCFN.squeeze(1).transpose(1, 2)).pooler_output
    ours = Transformer.forward(model.backend, x_BCFN)  # before the classifier's norm
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_mean_is_of_patches_and_no_published_classifier_reads_it(folder: Path) -> None:
    for other in ({"pooling": "mean_std"}, {"layers": "weighted"}, {"layers": "1"}):
        assert load("ast", folder, **other).backend.load(folder) is None
    model = load("ast", folder, pooling="mean")
    assert model.backend.load(folder) is None
    x_BCFN = model.frontend(clips(FRAMES))
    x_BND = model.backend.encode(x_BCFN, all_layers=False).last_hidden_state
    assert x_BND.shape[1] == TOKENS + patches(BINS) * patches(FRAMES)
    expected = model.backend.norm(x_BND[:, TOKENS:].mean(1))
    torch.testing.assert_close(model.backend(x_BCFN), expected)


def test_tokens_learn_apart_and_recomputed_gradients_are_the_same() -> None:
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        config = {**changes(AST.model_type, CONFIG.to_dict()), "num_mel_bins": 8}  # overruled
        backend = AST(1, BINS, config, gradient_checkpointing=recomputed).train()
        backend(noise(2, 1, BINS, 50)).square().sum().backward()
        gradients.append({name: p.grad for name, p in backend.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])
    tokens = [gradients[0][f"model.embeddings.{name}_token"] for name in ("cls", "distillation")]
    assert not torch.allclose(*tokens)
    assert max(token.abs().max() for token in tokens) < 1e3


@pytest.mark.parametrize(
    ("config", "pooling", "message"),
    [
        ({"patch_size": 41}, "cls", "patch_size=41 must be at most the front end's bins, 40, and"),
        ({"max_length": 15}, "cls", "patch_size=16 must be at most .* max_length=15"),
        ({"hidden_size": "wide"}, "cls", "model.backend.config is none of audio-spectrogram-trans"),
        ({}, "max", "pooling=max must be one of cls, mean, mean_std, attention"),
    ],
)
def test_mistakes(config: dict[str, Any], pooling: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AST(1, BINS, {"num_hidden_layers": 1, **config}, pooling=pooling)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    backend = AST(1, BINS + 20, changes(AST.model_type, CONFIG.to_dict()))
    with pytest.raises(InputError, match=r"position_embeddings has another shape"):
        backend.load(folder)
