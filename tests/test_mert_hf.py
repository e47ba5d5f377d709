"""MERT as the HuBERT that it is, and `hf`: the hidden states of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    HubertConfig,
    HubertModel,
    SEWConfig,
    SEWForSequenceClassification,
    Wav2Vec2FeatureExtractor,
)

from checkpoints import NUM_CLASSES, load, noise, published_logits, save
from zoo.backends.hf import AnyEncoder
from zoo.backends.mert import MERT
from zoo.errors import InputError

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 7,
}
SIZES: dict[str, dict[str, Any]] = {  # how the published ones differ, but for their size
    "95M": {"do_stable_layer_norm": False, "attention_relax": -1.0},
    "330M": {"do_stable_layer_norm": True, "attention_relax": 32.0, "mask_time_prob": 0.0},
}
MERT_V1 = {
    "model_type": "mert_model",
    "architectures": ["MERTModel"],
    "auto_map": {"AutoModel": "modeling_MERT.MERTModel"},
    "deepnorm": False,
    "feature_extractor_cqt": False,
    "feature_extractor_cqt_bins": 336,
    "sample_rate": 24_000,
}
OLD_NAMES = {"parametrizations.weight.original0": "weight_g"}
OLD_NAMES["parametrizations.weight.original1"] = "weight_v"
ENCODERS = ("sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2-conformer")


def extractor(rate: int) -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=True)


def normalized(x_BT: torch.Tensor, rate: int) -> torch.Tensor:
    waveforms = [x.numpy() for x in x_BT]
    return extractor(rate)(waveforms, sampling_rate=rate, return_tensors="pt").input_values


def save_mert(folder: Path, size: str) -> HubertModel:
    """Write a folder such as those of m-a-p; return the HuBERT in it."""
    theirs = HubertModel(HubertConfig(**SMALL, **SIZES[size])).eval()
    save(theirs, extractor(24_000), folder)
    (folder / "model.safetensors").unlink()
    state = theirs.state_dict()
    for new, old in OLD_NAMES.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    torch.save(state, folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **SIZES[size], **MERT_V1}))
    return theirs


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_mert_is_a_hubert(size: str, tmp_path: Path) -> None:
    theirs = save_mert(tmp_path, size)
    assert "encoder.pos_conv_embed.conv.weight_g" in torch.load(tmp_path / "pytorch_model.bin")
    model = load("mert", tmp_path, layers="last")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(model.backend.model.state_dict()[name], tensor), name
    assert model.sample_rate == 24_000
    x_BT = noise(2, 12_000)
    expected = theirs(normalized(x_BT, 24_000)).last_hidden_state.mean(1)
    torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_extractor_cqt": True}, "with feature_extractor_cqt=True: it reads a constant-Q"),
        ({"deepnorm": True}, "with deepnorm=True: its residual connections are scaled; m-a-p/MERT"),
        ({"architectures": ["MusicFM"]}, "of architecture MusicFM, only of MERTModel or HubertMod"),
    ],
)
def test_other_merts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^model=mert does not take a checkpoint {message}"):
        MERT.settings({**SMALL, **MERT_V1, **change}, {})


@pytest.mark.parametrize("layers", ["last", "2"])
@pytest.mark.parametrize("model_type", ENCODERS)
@torch.no_grad()
def test_any_encoder_is_that_of_transformers(model_type: str, layers: str, tmp_path: Path) -> None:
    theirs = AutoModel.from_config(AutoConfig.for_model(model_type, **SMALL)).eval()
    model = load("hf", save(theirs, extractor(16_000), tmp_path), layers=layers)
    assert model.config.backend_args is not None
    assert model.config.backend_args["config"]["model_type"] == model_type
    x_BT = noise(2, 8_000)
    if layers == "2":
        del model_blocks(theirs)[2:]
    expected = theirs(normalized(x_BT, 16_000)).last_hidden_state.mean(1)
    torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-5, rtol=1e-5)


def model_blocks(model: Any) -> Any:
    encoder = model.encoder
    return encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layer


@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("model_type", ENCODERS)
def test_shortest_clip_gradients_and_groups(model_type: str, layers: str) -> None:
    backend = AnyEncoder(1, 1, {**SMALL, "model_type": model_type}, layers)
    squeezes = model_type.startswith("sew")  # two frames to one
    assert backend.min_frames == (720 if squeezes else 400)
    backend(noise(2, 4 * backend.min_frames)).square().sum().backward()
    for name, parameter in backend.named_parameters():
        got = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert got == parameter.requires_grad, name
    grouped = [id(p) for group in backend.layer_groups() for m in group for p in m.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in backend.parameters())
    assert len(backend.layer_groups()) == 5
    linear = {name.rpartition(".")[2] for name, m in backend.named_modules()}
    assert set(backend.lora_targets) <= linear and len(backend.lora_targets) == 2


@torch.no_grad()
def test_weighted_mean_of_what_layers_of_sew_give() -> None:
    backend = AnyEncoder(1, 1, {**SMALL, "model_type": "sew"}, "weighted").eval()
    x_BT = noise(2, 8_000)
    states = backend.model(x_BT, output_hidden_states=True).hidden_states
    expected = torch.stack(states).mean(0).mean(1)
    torch.testing.assert_close(backend(x_BT), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_scores_of_sew_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = SEWForSequenceClassification(SEWConfig(**SMALL, num_labels=NUM_CLASSES))
    folder = save(theirs, extractor(16_000), tmp_path)
    x_BT = noise(3, 8_000)
    expected = published_logits(SEWForSequenceClassification, folder, x_BT)
    torch.testing.assert_close(load("hf", folder)(x_BT), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "model=hf with model_type=bert: it does not read waveforms"),
        ({"model_type": "sow"}, "model=hf with model_type=sow: it must be one of the names that "),
        (SMALL, "model=hf with model_type=None: it must be one of the names that transformers"),
        (
            {"model_type": "encodec", "num_filters": 2},
            "model=hf with model_type=encodec: it does not give hidden states of waveforms of any",
        ),
        ({"model_type": "sew", "conv_dim": [4]}, "model.backend.config is none of sew: .*conv_dim"),
    ],
)
def test_what_is_no_encoder_of_waveforms_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        AnyEncoder(1, 1, config)


def test_layers_of_what_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.backends.hf.LAYERS", ())
    config = {**SMALL, "model_type": "unispeech"}
    assert AnyEncoder(1, 1, config, "last").layer_groups()
    with pytest.raises(InputError, match=r"layers=weighted is not possible with model_type=unisp"):
        AnyEncoder(1, 1, config, "weighted")
