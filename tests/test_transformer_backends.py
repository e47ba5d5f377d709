"""`vit` against timm's forward, `conformer` against torchaudio's; patch-out and lengths."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torchaudio.models import Conformer as Torchaudio

from zoo.backends.conformer import EXPANSION, KERNEL, Conformer
from zoo.backends.vit import ViT, leave_out
from zoo.errors import InputError


@pytest.mark.parametrize("channels", [1, 3])
def test_vit_is_that_of_timm(channels: int) -> None:
    torch.manual_seed(0)
    backend = ViT(channels, 96, frames=320).eval()
    theirs = VisionTransformer(
        img_size=(96, 320),
        in_chans=channels,
        num_classes=0,
        embed_dim=192,
        depth=12,
        num_heads=3,
        no_embed_class=True,
    ).eval()
    positions = backend.freq_embed + backend.time_embed  # [D, 6 rows, 20 columns]
    state = {**backend.vit.state_dict(), "pos_embed": positions.flatten(1).T[None]}
    theirs.load_state_dict(state)
    x = torch.randn(2, channels, 96, 320)
    with torch.no_grad():
        expected = theirs(backend.spec_bn(x))
        torch.testing.assert_close(backend(x), expected, atol=1e-5, rtol=1e-5)


def patches_seen(backend: ViT, x: torch.Tensor) -> int:
    seen: list[int] = []
    hook = backend.vit.blocks[0].register_forward_hook(lambda _, x, __: seen.append(x[0].shape[1]))
    backend(x)
    hook.remove()
    return seen[0] - 1  # the class token


@pytest.mark.parametrize(
    ("stride", "bins", "frames", "patches"),
    [(16, 128, 640, 8 * 40), (10, 128, 998, 13 * 100), (16, 13, 16, 1), (16, 97, 33, 7 * 3)],
)
def test_patches_cover_the_spectrogram(stride: int, bins: int, frames: int, patches: int) -> None:
    backend = ViT(1, bins, depth=1, stride=stride, frames=1000).eval()
    assert patches_seen(backend, torch.randn(1, 1, bins, frames)) == patches


def test_patchout_only_in_training() -> None:
    backend = ViT(1, 128, depth=1, patchout_time=0.4, patchout_freq=0.25)
    x = torch.randn(2, 1, 128, 640)
    assert patches_seen(backend, x) == 6 * 24
    assert patches_seen(backend.eval(), x) == 8 * 40
    backend = ViT(1, 12, depth=1, patchout_time=1.0, patchout_freq=1.0)
    assert patches_seen(backend, torch.randn(2, 1, 12, 20)) == 1


def test_leaving_out_keeps_the_order() -> None:
    torch.manual_seed(0)
    kept = leave_out(torch.arange(100.0).view(1, 100), 1, 0.4)[0]
    assert len(kept) == 60 and kept.diff().min() > 0 and kept.diff().max() > 1


def test_longer_clips_are_the_mean_over_windows() -> None:
    backend = ViT(1, 96, depth=1, frames=64).eval()
    x = torch.randn(2, 1, 96, 100)
    with torch.no_grad():
        expected = (backend(x[..., :64]) + backend(x[..., 36:])) / 2
        torch.testing.assert_close(backend(x), expected, atol=1e-5, rtol=1e-5)


def test_conformer_is_that_of_torchaudio() -> None:
    torch.manual_seed(0)
    backend = Conformer(1, 96)
    backend(torch.randn(2, 1, 96, 200))  # moves the running statistics
    theirs = Torchaudio(144, 4, EXPANSION * 144, 4, KERNEL).eval()
    missing, unexpected = theirs.conformer_layers.load_state_dict(
        backend.eval().layers.state_dict(), strict=False
    )
    assert not unexpected and all(name.endswith("sequential.2.bias") for name in missing)
    for layer in theirs.conformer_layers:
        layer.conv_module.sequential[2].bias.data.zero_()
    x = torch.randn(2, 1, 96, 200)
    with torch.no_grad():
        y = backend.conv2(backend.conv1(backend.spec_bn(x)).relu()).relu()
        y = backend.dense(y.flatten(1, 2).transpose(1, 2))
        expected, _ = theirs(y, torch.tensor([50, 50]))
        torch.testing.assert_close(backend(x), expected.mean(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", [Conformer, ViT])
def test_heads_must_divide(backend: type) -> None:
    with pytest.raises(InputError, match=r"num_heads=5 must divide embed_dim=192"):
        backend(1, 96, embed_dim=192, num_heads=5)
