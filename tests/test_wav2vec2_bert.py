"""Wav2Vec2-BERT: the scores of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForSequenceClassification,
    Wav2Vec2BertModel,
)

from checkpoints import NUM_CLASSES, load, noise, published_logits, save
from zoo.backends.wav2vec2_bert import Wav2Vec2BERT
from zoo.errors import InputError

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "conv_depthwise_kernel_size": 5,
    "classifier_proj_size": 7,
}


def clips(frames: int) -> torch.Tensor:
    return noise(3, 400 + (frames - 1) * 160)


@torch.no_grad()
def test_scores_are_those_of_transformers(tmp_path: Path) -> None:
    config = Wav2Vec2BertConfig(**SMALL, num_labels=NUM_CLASSES)
    classifier = Wav2Vec2BertForSequenceClassification
    folder = save(classifier(config), SeamlessM4TFeatureExtractor(), tmp_path)
    model = load("wav2vec2_bert", folder)
    for frames in (60, 61):  # the extractor pairs an odd frame with zeros, and masks the pair
        x_BT = clips(frames)
        assert model.frontend(x_BT).shape == (3, 1, 160, 30)
        expected = published_logits(classifier, folder, x_BT)
        torch.testing.assert_close(model(x_BT), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_adapters_are_left_out(tmp_path: Path) -> None:
    config = Wav2Vec2BertConfig(**SMALL, add_adapter=True, use_intermediate_ffn_before_adapter=True)
    published = Wav2Vec2BertModel(config).eval()
    model = load(
        "wav2vec2_bert", save(published, SeamlessM4TFeatureExtractor(), tmp_path), layers="last"
    )
    x_BCFN = model.frontend(clips(60))
    hidden = published.feature_projection(x_BCFN.squeeze(1).transpose(1, 2))[0]
    expected = published.encoder(hidden).last_hidden_state.mean(1)
    torch.testing.assert_close(model.backend(x_BCFN), expected, atol=1e-5, rtol=1e-5)


def test_recomputed_gradients_are_the_same() -> None:
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        config = {**SMALL, "conformer_conv_dropout": 0.0}
        backend = Wav2Vec2BERT(1, 160, config, gradient_checkpointing=recomputed).train()
        backend(noise(2, 1, 160, 20)).square().sum().backward()
        gradients.append({n: p.grad for n, p in backend.named_parameters() if p.requires_grad})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_mistakes() -> None:
    with pytest.raises(InputError, match=r"position_embeddings_type=rotary must be relative_key"):
        Wav2Vec2BERT(1, 160, {**SMALL, "position_embeddings_type": "rotary"})
    with pytest.raises(InputError, match=r"stride=3 must be 2"):
        Wav2Vec2BERT.settings({}, {"stride": 3})
    with pytest.raises(InputError, match=r"model.backend.config is none of wav2vec2-bert: .* odd"):
        Wav2Vec2BERT(1, 160, {**SMALL, "conv_depthwise_kernel_size": 4})
    with pytest.raises(InputError, match=r"model.backend.layers=3 must be .* from 1 to 2"):
        Wav2Vec2BERT(1, 160, SMALL, layers="3")
