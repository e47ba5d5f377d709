"""Whisper's encoder: the scores of transformers, clips under and over 30 s, without silence."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from checkpoints import NUM_CLASSES, RATE, extracted, load, noise, published_logits, save
from zoo.backends.hub import changes
from zoo.backends.whisper import Whisper
from zoo.errors import InputError

SMALL: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
}
DECODER: dict[str, Any] = {
    "decoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 24,
    "vocab_size": 9,
    "max_target_positions": 7,
    "pad_token_id": 0,
}
CONFIG = WhisperConfig(**SMALL, **DECODER, classifier_proj_size=7, num_labels=NUM_CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, path = WhisperForAudioClassification(CONFIG), tmp_path_factory.mktemp("whisper")
    return save(model, WhisperFeatureExtractor(), path)


@pytest.fixture(scope="module")
def published(folder: Path) -> WhisperEncoder:
    return WhisperForAudioClassification.from_pretrained(folder).encoder.eval()


@torch.no_grad()
def test_scores_are_those_of_transformers_for_30_seconds(folder: Path) -> None:
    x_BT = noise(2, 30 * RATE) * torch.tensor([[1.0], [0.01]])
    expected = published_logits(WhisperForAudioClassification, folder, x_BT)
    for short in (False, True):
        logits = load("whisper", folder, short=short)(x_BT)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [500, 501, 2999])
def test_only_steps_of_the_clip_are_pooled(
    folder: Path, published: WhisperEncoder, frames: int
) -> None:
    x_BT = noise(2, 160 * frames)
    output = published(**extracted(folder, x_BT))
    expected = output.last_hidden_state[:, : math.ceil(frames / 2)].mean(1)
    features = load("whisper", folder).embed(x_BT)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def with_positions(published: WhisperEncoder, steps: int) -> WhisperEncoder:
    """Return transformers' encoder for clips of so many steps."""
    config = WhisperConfig(**{**published.config.to_dict(), "max_source_positions": steps})
    state, name = published.state_dict(), "embed_positions.weight"
    encoder = WhisperEncoder(config).eval()
    encoder.load_state_dict({**state, name: state[name][:steps]})
    return encoder


@torch.no_grad()
def test_short_is_an_encoder_of_fewer_positions(folder: Path, published: WhisperEncoder) -> None:
    """What enters the layers is that of 30 s; silence is not attended to."""
    model, padded = load("whisper", folder, short=True), load("whisper", folder)
    x_BT = noise(2, 5 * RATE)
    x_BCFN = model.frontend(x_BT)
    steps = x_BCFN.shape[3] // 2
    assert steps == 251  # the last sees only a part of the clip, and is not pooled
    output = with_positions(published, steps)(x_BCFN.squeeze(1))
    expected = output.last_hidden_state[:, :250].mean(1)
    torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(padded.embed(x_BT), expected, atol=1e-3)

    entering = model.backend.encode(x_BCFN, True).hidden_states[0][:, :250]
    silent = published(**extracted(folder, x_BT), output_hidden_states=True)
    torch.testing.assert_close(entering, silent.hidden_states[0][:, :250], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_longer_clips_are_means_over_windows(folder: Path) -> None:
    model = load("whisper", folder)
    x_BCFN = model.frontend(noise(1, 45 * RATE))
    windows = torch.cat([x_BCFN[..., start : start + 3000] for start in (0, 1500)])
    expected = model.backend(windows).mean(0, keepdim=True)
    torch.testing.assert_close(model.backend(x_BCFN), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "weighted"),
    [
        (WhisperModel, False),
        (WhisperForConditionalGeneration, False),
        (WhisperForAudioClassification, True),
    ],
    ids=str,
)
def test_encoder_of_any_checkpoint(kind: Any, weighted: bool, tmp_path: Path) -> None:
    theirs = kind(WhisperConfig(**SMALL, **DECODER, use_weighted_layer_sum=weighted)).eval()
    model = load("whisper", save(theirs, WhisperFeatureExtractor(), tmp_path), layers="weighted")
    assert model.backend.load(tmp_path) is None
    encoder = theirs.encoder if weighted else theirs.get_encoder()
    x_BCFN = model.frontend(noise(1, 30 * RATE))
    expected = encoder(x_BCFN.squeeze(1), output_hidden_states=True)
    ours = model.backend.encode(x_BCFN, all_layers=True)
    for state, other in zip(ours.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(state, other, atol=1e-5, rtol=1e-5)


def test_recomputed_gradients_are_the_same() -> None:
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        backend = Whisper(1, 80, SMALL, gradient_checkpointing=recomputed, short=True).train()
        backend(noise(2, 1, 80, 40)).square().sum().backward()
        gradients.append({n: p.grad for n, p in backend.named_parameters() if p.requires_grad})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"chunk_length=10 must be 30"):
        Whisper.settings({}, {"chunk_length": 10})
    with pytest.raises(InputError, match=r"model.backend.config is none of whisper: embed_dim"):
        Whisper(1, 80, {**SMALL, "encoder_attention_heads": 3})
    with pytest.raises(InputError, match=r"conv1.weight has another shape"):
        Whisper(1, 128, changes("whisper", CONFIG.to_dict())).load(folder)

    theirs = save(WhisperModel(CONFIG), WhisperFeatureExtractor(), tmp_path)
    state = load_file(theirs / "model.safetensors")
    del state["encoder.layers.1.fc1.weight"]
    save_file(state, theirs / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"layers.1.fc1.weight is missing"):
        Whisper(1, 80, changes("whisper", CONFIG.to_dict())).load(theirs)
