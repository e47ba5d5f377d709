"""One contract for every front end: shapes, finite values and gradients, float32, state."""

import pickle
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import InputError
from zoo.frontends.base import FrontEnd
from zoo.frontends.fbank import Fbank
from zoo.frontends.fbank_stacked import StackedFbank
from zoo.frontends.whisper_mel import WhisperMel
from zoo.registry import build_named

RATE = 16_000
COMPRESSED = ("mel", "stft", "gammatone", "cqt", "vqt")
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in zoo.list_frontends()),
    *((name, {"compression": c}) for name in COMPRESSED for c in ("log", "log1p", "pcen")),
    *((name, {"trainable": True}) for name in ("mel", "cqt", "vqt")),
    ("filterbank", {"stride": 1}),
    ("chroma", {"bins_per_octave": 36, "n_octaves": 4, "f_min": 110.0}),
    ("waveform", {"normalize": True}),
]
IDS = ["-".join([name, *map(str, sum(args.items(), ()))]) for name, args in CASES]


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def front_end(request: pytest.FixtureRequest) -> FrontEnd:
    name, arguments = request.param
    return build_named("frontend", name, arguments)


def noise(samples: int, batch: int = 2, level: float = 0.3) -> torch.Tensor:
    return level * torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


WHOLE_OR_ALL = (Fbank, StackedFbank, WhisperMel)  # only whole frames, or all that see a sample


def test_shapes(front_end: FrontEnd) -> None:
    shortest, full = front_end.min_samples, getattr(front_end, "full_samples", 0)  # repeated to it
    slack = 2.5 if isinstance(front_end, WHOLE_OR_ALL) else 1.0  # frames at the ends
    for samples in (shortest, shortest + 1, 15_999, 16_000, 16_001):
        features = front_end(noise(samples))
        assert features.dtype == torch.float32 and features.isfinite().all()
        expected = max(samples, full) * front_end.frame_rate / front_end.sample_rate
        assert abs(features.shape[-1] - expected) <= slack
        if front_end.kind == "spectrogram":
            assert features.shape[:3] == (2, front_end.num_channels, front_end.num_bins)
        else:
            assert features.shape == (2, samples)


def test_samples_for_frames(front_end: FrontEnd) -> None:
    for frames in (1, 2, 3, 96, 100):
        samples = front_end.samples_for(frames)
        assert samples >= front_end.min_samples
        assert front_end(noise(samples, batch=1)).shape[-1] >= frames


def sounds() -> dict[str, torch.Tensor]:
    t = torch.arange(RATE // 2).expand(2, -1)
    return {
        "silence": torch.zeros(2, RATE // 2),
        "ones": torch.ones(2, RATE // 2),
        "square wave": torch.where(t % 50 < 25, 1.0, -1.0),
        "silence, then full scale": torch.where(t < RATE // 4, 0.0, 1.0),
        "tiny noise": noise(RATE // 2, level=1e-7),
        "last bit": noise(RATE // 2, level=1 / 32768),
    }


@pytest.mark.parametrize("name", sounds())
def test_finite_forward_and_backward(front_end: FrontEnd, name: str) -> None:
    x = sounds()[name].clone().requires_grad_()
    front_end.zero_grad()
    features = front_end(x)
    features.sum().backward()
    assert features.isfinite().all()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in front_end.parameters())


def test_every_parameter_gets_a_gradient(front_end: FrontEnd) -> None:
    front_end.zero_grad()
    x = noise(RATE).requires_grad_()
    front_end(x).square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    for name, parameter in front_end.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_autocast_around_it_changes_nothing(front_end: FrontEnd) -> None:
    x = noise(RATE // 2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = front_end(x)
    assert torch.equal(inside, front_end(x))


def test_batch_equals_single(front_end: FrontEnd) -> None:
    x = noise(RATE // 2, batch=3)
    single = torch.cat([front_end(row[None]) for row in x])
    torch.testing.assert_close(front_end(x), single, atol=1e-3, rtol=1e-4)


def test_state_is_parameters_only_and_pickles(front_end: FrontEnd) -> None:
    names = {name for name, _ in front_end.named_parameters()}
    assert set(front_end.state_dict()) == names
    x = noise(RATE // 2)
    assert torch.equal(pickle.loads(pickle.dumps(front_end))(x), front_end(x))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("mel", {"mel_scale": "bark"}, "frontend.mel_scale=bark must be one of htk, slaney."),
        ("mel", {"norm": "htk"}, "frontend.norm=htk must be one of null, slaney."),
        ("stft", {"compression": "DB"}, "frontend.compression=DB must be one of db, log, log1p, p"),
        (
            "mfcc",
            {"n_mfcc": 65},
            "frontend.n_mfcc=65 must be at most the number of bands, n_mels=",
        ),
        ("vqt", {"gamma": -1.0}, "frontend.gamma=-1 must be at least 0 Hz."),
        ("vqt", {"n_bins": 101}, "frontend.f_min=32.7 with n_bins=101 reaches 10547 Hz: bins must"),
        ("gammatone", {"f_max": 9e3}, "frontend.f_min=50 and f_max=9000 must rise and lie between"),
        ("chroma", {"bins_per_octave": 13}, "frontend.bins_per_octave=13 must be a multiple of 12"),
        ("filterbank", {"f_min": 7800.0}, "frontend.f_min=7800 and f_max=7800 must rise and lie"),
        ("filterbank", {"window_length": 400}, "frontend.window_length=400 must be odd and at lea"),
        ("fbank", {"sample_rate": 16}, "frontend.sample_rate=16 must be at least 100 Hz."),
        (
            "whisper_mel",
            {"sample_rate": 8_000},
            "frontend.f_min=0 and f_max=8000 must rise and lie between",
        ),
        ("clap_mel", {"mel_scale": "bark"}, "frontend.mel_scale=bark must be one of htk, slaney."),
        ("clap_mel", {"sample_rate": 16_000}, "frontend.f_min=50 and f_max=14000 must rise and"),
        ("filterbank", {"stride": 3}, "frontend.hop_length=160 must be a multiple of stride=3."),
    ],
)
def test_wrong_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_named("frontend", name, arguments)
    assert str(caught.value).startswith(message) and str(caught.value).endswith(".")
