"""Checkpoints of every kind of transformer, tiny and random, in folders as the Hub has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

import zoo
from zoo.model import GenreModel

RATE, NUM_CLASSES = 16_000, 5
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BODY = {**LAYERS, "intermediate_size": 48}
FILTERS = {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}
SWIN = {
    "patch_embeds_hidden_size": 16,
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 2],
    "hidden_size": 128,
    "projection_dim": 8,
    "enable_fusion": False,
}
CODEC = {"num_filters": 4, "hidden_size": 16, "codebook_size": 16, "codebook_dim": 16}
SQUEEZED = {
    "conv_dim": (16,) * 13,
    "squeeze_factor": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "classifier_proj_size": 24,
    "begin_suppress_tokens": None,
}
WAVEFORM = {"do_normalize": True, "sampling_rate": 16_000}
TINY: dict[str, tuple[Any, dict[str, Any], Any, dict[str, Any]]] = {
    "ast": (hf.ASTModel, {**BODY, "max_length": 298}, hf.ASTFeatureExtractor, {"max_length": 298}),
    "wav2vec2": (
        hf.Wav2Vec2Model,
        {**BODY, **FILTERS},
        hf.Wav2Vec2FeatureExtractor,
        WAVEFORM,
    ),
    "hubert": (hf.HubertModel, {**BODY, **FILTERS}, hf.Wav2Vec2FeatureExtractor, WAVEFORM),
    "wavlm": (
        hf.WavLMModel,
        {**BODY, **FILTERS, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
        hf.Wav2Vec2FeatureExtractor,
        {**WAVEFORM, "do_normalize": False},
    ),
    "data2vec": (
        hf.Data2VecAudioModel,
        {**BODY, "conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4},
        hf.Wav2Vec2FeatureExtractor,
        WAVEFORM,
    ),
    "wav2vec2_bert": (hf.Wav2Vec2BertModel, BODY, hf.SeamlessM4TFeatureExtractor, {}),
    "whisper": (hf.WhisperModel, WHISPER, hf.WhisperFeatureExtractor, {}),
    "clap": (
        hf.ClapAudioModel,
        SWIN,
        hf.ClapFeatureExtractor,
        {"truncation": "rand_trunc", "frequency_min": 50},
    ),
    "mert": (
        hf.HubertModel,
        {**BODY, **FILTERS},
        hf.Wav2Vec2FeatureExtractor,
        {**WAVEFORM, "sampling_rate": 24_000},
    ),
    "encodec": (hf.EncodecModel, CODEC, hf.EncodecFeatureExtractor, {}),
    "hf": (hf.SEWModel, {**BODY, **SQUEEZED}, hf.Wav2Vec2FeatureExtractor, WAVEFORM),
}


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def save(model: Any, extractor: Any, folder: Path) -> Path:
    """Save both, the model without the zeros and ones of its initialisation."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def checkpoint(name: str, folder: Path, classes: int = 0) -> Path:
    """Write a checkpoint of a back end, with a classifier if there are `classes`; return its
    folder."""
    kind, options, extractor, settings = TINY[name]
    config = kind.config_class(**options)
    if classes:
        config.num_labels = classes
        kind = hf.AutoModelForAudioClassification.from_config
    save(kind(config), extractor(**settings), folder)
    if name == "mert":
        file = folder / "config.json"
        ours = {"model_type": "mert_model", "architectures": ["MERTModel"], "deepnorm": False}
        file.write_text(json.dumps({**json.loads(file.read_text()), **ours}))
    return folder


def load(name: str, folder: Path, **changes: Any) -> GenreModel:
    """Return the model that a folder asks for, with other arguments of its back end."""
    overrides = [f"model.backend.{key}={value}" for key, value in changes.items()]
    return zoo.create_model(name, checkpoint=folder, overrides=overrides)


def extracted(folder: Path, x_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what the checkpoint's own extractor gives for waveforms."""
    extractor = hf.AutoFeatureExtractor.from_pretrained(folder)
    given = extractor(list(x_BT.numpy()), sampling_rate=extractor.sampling_rate)
    return {key: torch.from_numpy(np.stack(value)) for key, value in given.items()}


@torch.no_grad()
def published_logits(classifier: Any, folder: Path, x_BT: torch.Tensor) -> torch.Tensor:
    """Return the logits of transformers' own class on features of its own extractor."""
    model = classifier.from_pretrained(folder).eval()
    logits = model(**extracted(folder, x_BT)).logits
    assert logits.std(0).min() > 1e-4  # clips differ
    return logits
