"""CLAP's audio tower and EnCodec's encoder: the features of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    ClapAudioConfig,
    ClapAudioModel,
    ClapAudioModelWithProjection,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
)

from checkpoints import load, noise, save
from zoo.backends.clap import Clap
from zoo.backends.encodec import Encodec
from zoo.errors import InputError

AUDIO: dict[str, Any] = {  # of CLAP
    "patch_embeds_hidden_size": 8,
    "hidden_size": 64,
    "depths": [1, 2, 1, 1],
    "num_attention_heads": [1, 2, 2, 4],
}
TEXT: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 8,
}
CODEC: dict[str, Any] = {"num_filters": 4, "hidden_size": 12, "codebook_size": 16}


def clap(kind: str, fusion: bool) -> Any:
    """Return a CLAP, its audio tower with a projection or that alone."""
    audio = {**AUDIO, "enable_fusion": fusion}
    if kind == "whole":
        return ClapModel(ClapConfig(audio_config=audio, text_config=TEXT, projection_dim=24))
    tower = ClapAudioModelWithProjection if kind == "projected" else ClapAudioModel
    return tower(ClapAudioConfig(**audio))


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("kind", ["whole", "projected", "alone"])
@torch.no_grad()
def test_clap_is_that_of_transformers(kind: str, fusion: bool, tmp_path: Path) -> None:
    theirs = clap(kind, fusion).eval()
    truncation = "fusion" if fusion else "rand_trunc"
    extractor = ClapFeatureExtractor(truncation=truncation, frequency_min=50)
    model = load("clap", save(theirs, extractor, tmp_path))
    tower = theirs if kind == "alone" else theirs.audio_model
    for seconds in (3, 10):
        x_BT = noise(2, seconds * 48_000)
        features = extractor([x.numpy() for x in x_BT], sampling_rate=48_000, return_tensors="pt")
        # the extractor calls one of the clips longer, at random
        not_longer = torch.zeros(2, 1, dtype=torch.bool)
        expected = tower(features.input_features, is_longer=not_longer).pooler_output
        assert expected.std(0).mean() > 1e-3  # clips differ
        torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_clap_hears_all_of_a_longer_clip() -> None:
    backend, x_BCFN = Clap(1, 64, AUDIO).eval(), noise(2, 1, 64, 1101)
    expected = (backend(x_BCFN[..., :1001]) + backend(x_BCFN[..., 100:])) / 2
    torch.testing.assert_close(backend(x_BCFN), expected, atol=1e-5, rtol=1e-5)


def test_clap_learns_but_for_the_fusion() -> None:
    backend = Clap(1, 64, {**AUDIO, "enable_fusion": True})
    backend(noise(2, 1, 64, 1001)).square().sum().backward()
    frozen = {n for n, p in backend.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, p in backend.named_parameters() if p.grad is None}
    assert frozen and all("fusion_model" in n or "mel_conv2d" in n for n in frozen)
    grouped = [id(p) for group in backend.layer_groups() for m in group for p in m.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in backend.parameters())
    assert len(backend.layer_groups()) == 6  # patches, four stages, the norm


@pytest.mark.parametrize(
    ("bins", "config", "message"),
    [
        (80, {}, r"num_mel_bins=64 must be the front end's number of bins, 80"),
        (48, {"num_mel_bins": 48}, r"spec_size=256 must be a multiple of num_mel_bins=48 and at "),
        (64, {"spec_size": 128}, r"spec_size=128 must be .* at least 256: window_size=8 patches"),
        (64, {"num_attention_heads": [3, 4, 8, 16]}, r"is none of clap_audio_model: .* multiple"),
    ],
)
def test_clap_refuses_what_does_not_fit(bins: int, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^model.backend.config.*{message}"):
        Clap(1, bins, {**AUDIO, **config})


def test_clap_refuses_other_extractors() -> None:
    with pytest.raises(InputError, match=r"truncation=never must be one of fusion, rand_trunc"):
        Clap.settings({}, {"truncation": "never"})
    with pytest.raises(InputError, match=r"padding=pad must be one of repeatpad"):
        Clap.settings({}, {"padding": "pad"})


@torch.no_grad()
def test_encodec_is_that_of_transformers(tmp_path: Path) -> None:
    theirs = EncodecModel(EncodecConfig(**CODEC)).eval()
    model = load("encodec", save(theirs, EncodecFeatureExtractor(), tmp_path))
    assert model.sample_rate == 24_000 and not {*dir(model.backend.model)} & {"decoder"}
    for samples in (24_000, 7_001, 1):
        x_BT = noise(2, samples)
        features = EncodecFeatureExtractor()(
            [x.numpy() for x in x_BT], sampling_rate=24_000, return_tensors="pt"
        )
        x_BDN = theirs.encoder(features.input_values)
        assert x_BDN.shape == (2, 12, -(-samples // 320))  # 75 frames a second
        expected = torch.cat([x_BDN.mean(2), (x_BDN.var(2, correction=0) + 1e-5).sqrt()], dim=1)
        torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-5, rtol=1e-5)


def test_encodec_is_frozen_unless_asked() -> None:
    backend = Encodec(1, 1, CODEC, pooling="attention").train()
    assert backend.training and not any(m.training for m in backend.model.modules())
    backend(noise(2, 960)).square().sum().backward()
    learning = {n for n, p in backend.named_parameters() if p.requires_grad}
    assert learning == {"pooling.score.weight", "pooling.score.bias"}
    backend = Encodec(1, 1, CODEC, frozen=False).train()
    backend(noise(2, 960)).square().sum().backward()
    assert backend.model.training
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backend.parameters())


def test_encodec_refuses_stereo() -> None:
    with pytest.raises(InputError, match=r"audio_channels=2 and normalize=True are not supported"):
        Encodec(1, 1, {"audio_channels": 2, "normalize": True})
    with pytest.raises(InputError, match=r"none of encodec: .*norm_type"):
        Encodec(1, 1, {"norm_type": "batch_norm"})
