"""Front ends of pretrained models against the feature extractors of transformers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

import zoo
from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.clap_mel import ClapMel
from zoo.frontends.fbank import Fbank
from zoo.frontends.fbank_stacked import StackedFbank
from zoo.frontends.waveform import Waveform
from zoo.frontends.whisper_mel import WhisperMel, pad_to

RATE = 16_000
TOLERANCE = {"atol": 1e-4, "rtol": 0.0}


def sounds(seconds: float, rate: int = RATE) -> Tensor:
    """Return `[4,T]`: noise, tones that swell in noise, in little noise, silence and a ramp.

    The tones swell as `SeamlessM4TFeatureExtractor` divides by the deviation over time: where that
    is next to nothing, its own roundings are what is left.
    """
    samples = round(seconds * rate)
    time_T = torch.arange(samples) / rate
    noise_BT = torch.randn(4, samples, generator=torch.Generator().manual_seed(0))
    swell_T = 0.3 * (1 + (2 * math.pi * 3 * time_T).sin())
    tones_T = sum((2 * math.pi * f * time_T).sin() / f for f in (220.0, 1_107.0, 5_003.0)) * 220
    x_BT = torch.tensor([0.2, 0.05, 0.003, 0.0])[:, None] * noise_BT
    x_BT[1:3] += swell_T * tones_T / 2
    x_BT[3, samples // 2 :] = torch.linspace(1, -1, samples - samples // 2)
    return x_BT.clamp(-1, 1)


def extracted(extractor: Any, x_BT: Tensor, **options: Any) -> Tensor:
    """Return what an extractor of transformers gives for the clips."""
    rate = extractor.sampling_rate
    found = extractor(list(x_BT.numpy()), sampling_rate=rate, return_tensors="pt", **options)
    return found[extractor.model_input_names[0]]


@pytest.mark.parametrize("seconds", [0.025, 0.5, 3.3, 10, 30])
@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [
        ({}, {}),
        ({"n_mels": 64, "mean": 0.0, "std": 0.5}, {"num_mel_bins": 64, "do_normalize": False}),
    ],
    ids=str,
)
def test_fbank_equals_ast(seconds: float, arguments: dict, theirs: dict) -> None:
    x_BT = sounds(seconds)
    ours_BFN = Fbank(**arguments)(x_BT).squeeze(1)
    frames = 1 + (x_BT.shape[1] - 400) // 160
    assert ours_BFN.shape[-1] == frames
    expected_BNF = extracted(ASTFeatureExtractor(max_length=frames, **theirs), x_BT)
    torch.testing.assert_close(ours_BFN.mT, expected_BNF, **TOLERANCE)


@pytest.mark.parametrize("seconds", [0.5, 1.01, 3.3, 10, 30])  # 1.01: an odd number of frames
@pytest.mark.parametrize("n_mels", [80, 40])
def test_stacked_fbank_equals_seamless(seconds: float, n_mels: int) -> None:
    x_BT = sounds(seconds)
    ours_BFN = StackedFbank(n_mels=n_mels)(x_BT).squeeze(1)
    extractor = SeamlessM4TFeatureExtractor(feature_size=n_mels, num_mel_bins=n_mels)
    found = extractor(list(x_BT.numpy()), sampling_rate=RATE, return_tensors="pt")
    valid = int(found.attention_mask[0].sum())
    assert ours_BFN.shape[-1] == valid == (1 + (x_BT.shape[1] - 400) // 160) // 2
    torch.testing.assert_close(ours_BFN.mT, found.input_features[:, :valid], **TOLERANCE)


@pytest.mark.parametrize("seconds", [0.001, 0.5, 3.3, 10, 29.97, 29.99, 30])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_whisper_mel_padded_equals_whisper(seconds: float, n_mels: int) -> None:
    x_BT = sounds(seconds)
    ours_BCFN = WhisperMel(n_mels=n_mels)(x_BT)
    assert ours_BCFN.shape[-1] == min(math.ceil((x_BT.shape[1] + 200) / 160), 3000)
    expected_BFN = extracted(WhisperFeatureExtractor(feature_size=n_mels), x_BT)
    torch.testing.assert_close(pad_to(ours_BCFN, 3000).squeeze(1), expected_BFN, **TOLERANCE)
    assert torch.equal(pad_to(ours_BCFN, 1), ours_BCFN)


def test_whisper_mel_of_a_longer_clip_is_one_signal() -> None:
    x_BT = sounds(31.005)
    whole = {"truncation": False, "padding": "longest"}
    expected_BFN = extracted(WhisperFeatureExtractor(), x_BT, **whole)
    assert expected_BFN.shape[-1] == x_BT.shape[1] // 160
    torch.testing.assert_close(WhisperMel()(x_BT).squeeze(1), expected_BFN, **TOLERANCE)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.3, 10])
@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [
        ({}, {"truncation": "rand_trunc"}),
        ({"mel_scale": "htk"}, {"truncation": "fusion"}),
        ({"max_seconds": 12.0, "n_mels": 40}, {"max_length_s": 12, "feature_size": 40}),
    ],
    ids=str,
)
def test_clap_mel_equals_clap(seconds: float, arguments: dict, theirs: dict) -> None:
    x_BT = sounds(seconds, rate=48_000)
    ours_BFN = ClapMel(**arguments)(x_BT).squeeze(1)
    assert ours_BFN.shape[-1] == 100 * arguments.get("max_seconds", 10) + 1
    theirs = {"truncation": "rand_trunc", "frequency_min": 50} | theirs
    expected_BNF = extracted(ClapFeatureExtractor(**theirs), x_BT)[:, 0]
    torch.testing.assert_close(ours_BFN.mT, expected_BNF, **TOLERANCE)


def test_clap_mel_keeps_a_longer_clip() -> None:
    x_BT = sounds(12.0, rate=48_000)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, max_length_s=12)
    ours_BFN = ClapMel()(x_BT).squeeze(1)
    torch.testing.assert_close(ours_BFN.mT, extracted(extractor, x_BT)[:, 0], **TOLERANCE)


@pytest.mark.parametrize("seconds", [0.5, 3.3, 30])
@pytest.mark.parametrize("normalize", [False, True])
def test_waveform_equals_wav2vec2(seconds: float, normalize: bool) -> None:
    x_BT = sounds(seconds) + 0.01
    expected_BT = extracted(Wav2Vec2FeatureExtractor(do_normalize=normalize), x_BT)
    torch.testing.assert_close(Waveform(normalize=normalize)(x_BT), expected_BT, **TOLERANCE)


@pytest.mark.parametrize(
    ("front_end", "extractor"),
    [
        (Fbank(), ASTFeatureExtractor(max_length=98)),
        (StackedFbank(), None),  # each value is a rounding of theirs over the root of 1e-7
        (WhisperMel(), WhisperFeatureExtractor()),
        (ClapMel(), ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50)),
        (Waveform(normalize=True), Wav2Vec2FeatureExtractor()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_silence(front_end: FrontEnd, extractor: Any) -> None:
    x_BT = torch.zeros(2, front_end.sample_rate).requires_grad_()
    features = front_end(x_BT)
    features.square().sum().backward()
    assert features.isfinite().all()
    assert x_BT.grad is not None and x_BT.grad.isfinite().all()
    if extractor is None:
        assert features.abs().max() < 1e-4
        return
    expected = extracted(extractor, x_BT.detach())
    if isinstance(front_end, WhisperMel):
        features = pad_to(features, 3000)
    elif features.ndim == 4:
        features = features.mT
    torch.testing.assert_close(features.detach().view_as(expected), expected, **TOLERANCE)


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match=r"frontend\.std=0 must be at least 1e-06\."):
        zoo.create_model("linear", frontend="fbank", overrides=["frontend.std=0"])
