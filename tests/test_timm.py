"""`timm` over the families of backbones, names and weights; `mn`."""

import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import convert_sync_batchnorm
from torch import nn

import zoo
from conftest import TINY_SYNTH
from zoo.backends.base import BackEnd
from zoo.backends.mn import MN
from zoo.backends.timm import Timm
from zoo.backends.windows import mean_over_windows
from zoo.config import compose
from zoo.errors import InputError
from zoo.registry import build_named
from zoo.train import main

FAMILIES = [
    "resnet18",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "convnext_atto",
    "densenet121",
    "regnetx_002",
    "hrnet_w18_small",  # refuses odd sizes
    "vit_tiny_patch16_224",
    "deit3_small_patch16_224",
    "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "maxvit_pico_rw_256",
    "test_coatnet",
    "coatnet_pico_rw_224",
    "hiera_tiny_224",
]
FAST = {"resnet18", "efficientnet_b0", "mobilenetv3_small_050", "convnext_atto", "regnetx_002"}
FAST |= {"vit_tiny_patch16_224", "eva02_tiny_patch14_224", "test_coatnet"}


def awake(module: nn.Module) -> None:
    """Give weights that start at (nearly) zero, so that they hold gradients back, a size."""
    for parameter in module.parameters():
        if parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in FAMILIES]
)
@pytest.mark.parametrize(("bins", "frames"), [(13, 32), (97, 313)])
def test_families(name: str, bins: int, frames: int) -> None:
    torch.manual_seed(0)
    backend = Timm(2, bins, name=name)
    awake(backend)
    x = torch.randn(4, 2, bins, frames)
    backend(x).square().sum().backward()
    for key, parameter in backend.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    check_groups(backend)
    with torch.no_grad():
        features = backend.eval()(x)
        assert features.shape == (4, backend.num_features)
        single = torch.cat([backend(row[None]) for row in x])
        torch.testing.assert_close(features, single, atol=1e-4, rtol=1e-4)
        again = pickle.loads(pickle.dumps(backend))
        assert torch.equal(again(x), features)


def check_groups(backend: BackEnd) -> None:
    groups = backend.layer_groups()
    grouped = [id(p) for group in groups for module in group for p in module.parameters()]
    assert len(groups) > 3 and sorted(grouped) == sorted(map(id, backend.parameters()))


def test_groups_run_from_input_to_output() -> None:
    backend = Timm(1, 96, name="vit_tiny_patch16_224")
    groups = backend.layer_groups()
    blocks = [
        next(i for i, group in enumerate(groups) if block.attn.qkv in group)
        for block in backend.model.blocks
    ]
    assert blocks == sorted(set(blocks))
    first = [id(p) for module in groups[1] for p in module.parameters()]
    assert id(backend.model.pos_embed) in first


@pytest.mark.parametrize("name", ["visformer_tiny", "coat_tiny"])  # positions in several groups
def test_groups_of_parameters_of_one_module(name: str) -> None:
    check_groups(Timm(1, 96, name=name))


def test_features_are_those_of_timm() -> None:
    torch.manual_seed(0)
    backend = Timm(1, 96, name="resnet18").eval()
    x = torch.randn(2, 1, 96, 128)
    theirs = timm.create_model("resnet18", in_chans=1, num_classes=0).eval()
    theirs.load_state_dict(backend.model.state_dict())
    with torch.no_grad():
        assert torch.equal(backend(x), theirs(backend.spec_bn(x)))


def test_longer_clips_are_the_mean_over_windows() -> None:
    backend = Timm(1, 96, name="vit_tiny_patch16_224", frames=64).eval()
    x = torch.randn(2, 1, 96, 150)
    with torch.no_grad():
        windows = [backend(x[..., start : start + 64]) for start in (0, 43, 86)]
        torch.testing.assert_close(backend(x), sum(windows) / 3, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 16, 17, 1000])
def test_windows_cover_the_clip(frames: int) -> None:
    seen: set[float] = set()

    def model(x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-1] == min(8, frames)
        seen.update(x.flatten().tolist())
        return x.flatten(1)

    mean_over_windows(model, torch.arange(float(frames)).view(1, 1, 1, -1), 8)
    assert seen == set(range(frames))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ResNet18", r"did you mean resnet18 or .*\?$"),
        ("resnet18.a1_in1kk", r"did you mean resnet18\.a1_in1k or .*\?$"),
        ("zzzz", r"timm\.list_models\(\) lists all\.$"),
        ("mvitv2_tiny", r"does not take 96 bins, 256 frames"),
        ("convit_tiny", r"does not take 96 bins, 256 frames"),
        ("inception_v3", r"does not take 96 bins, 32 frames"),
    ],
)
def test_names_that_do_not_work(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.backend\.name={name} .*{expected}"):
        Timm(1, 96, name=name)


@pytest.mark.parametrize("classes", [0, 10, 1000])
def test_local_weights(classes: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    published = timm.create_model("test_vit", num_classes=classes)
    torch.save(published.state_dict(), file)
    backend = Timm(1, 96, name="test_vit", checkpoint=file)
    weights, theirs = backend.model.state_dict(), published.state_dict()
    assert torch.equal(weights["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])
    kernel = theirs["patch_embed.proj.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(weights["patch_embed.proj.weight"], kernel)
    assert "head.weight" not in weights
    assert backend(torch.randn(2, 1, 96, 500)).shape == (2, backend.num_features)
    assert len(pickle.dumps(backend)) < 1.3 * file.stat().st_size  # not twice the weights


class Call:
    def __reduce__(self) -> tuple:
        return print, ("called",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"", "EOFError"),
        ([1, 2], "list"),
        ({"weight": torch.zeros(2)}, 'Missing key.*"conv1.weight"'),
        (Call(), "weights_only=True blocked"),
    ],
)
def test_files_without_its_weights(
    content: object, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(
        InputError, match=f"checkpoint=.*holds no weights of resnet18: .*{expected}"
    ):
        Timm(1, 96, name="resnet18", checkpoint=file)
    assert "called" not in capsys.readouterr().out


def test_weights_that_are_not_to_be_had() -> None:
    with pytest.raises(InputError, match=r"^model\.backend\.pretrained=true: no weights of"):
        Timm(1, 96, name="test_vit_relpos", pretrained=True)


def test_precision_by_family() -> None:
    assert Timm(1, 96, name="efficientnet_b0").precision == "fp32"
    assert Timm(1, 96, name="resnet18").precision == "bf16"


def test_mn_has_the_published_size() -> None:
    backend, head = MN(1, 128), nn.Linear(1280, 527)  # of AudioSet
    parts = backend.model, head
    assert sum(p.numel() for part in parts for p in part.parameters()) == 4_876_831  # 4.88 M
    assert sum(p.numel() for p in MN(1, 128, width=0.75).parameters()) < 4_000_000
    with pytest.raises(InputError, match=r"width=0.4 must be one of 0.75, 1.0, 1.5"):
        MN(1, 128, width=0.4)


def test_saved_models_need_no_weights_to_start_from(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_vit").state_dict(), file)
    chosen = ["model.backend.name=test_vit", f"model.backend.checkpoint={file}"]
    model = zoo.create_model("timm", overrides=chosen).eval()
    assert type(model.backend.model).__name__ == "VisionTransformer"
    model.save_pretrained(tmp_path / "saved")
    file.unlink()
    x = torch.randn(2, 50_000)
    with torch.no_grad():
        assert torch.equal(zoo.load_model(tmp_path / "saved")(x), model(x))


def test_a_backbone_whose_modules_have_several_names_is_saved(tmp_path: Path) -> None:
    model = zoo.create_model("timm", overrides=["model.backend.name=coat_tiny"]).eval()
    model.save_pretrained(tmp_path)
    x = torch.randn(1, 50_000)
    with torch.no_grad():
        assert torch.equal(zoo.load_model(tmp_path)(x), model(x))


def test_batch_norms_over_several_gpus_keep_their_activations() -> None:
    model = convert_sync_batchnorm(zoo.create_model("mn"))
    assert "SyncBatchNormAct" in {type(module).__name__ for module in model.modules()}


def test_a_probe_sees_spectrograms_around_zero(tmp_path: Path) -> None:
    """Image weights know nothing of decibels, and a probe does not learn their statistics."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_efficientnet")
    save_file(backbone.state_dict(), tmp_path / "weights.safetensors")
    given = ["model=timm", "model.backend.name=test_efficientnet", "finetune=head"]
    given += [f"checkpoint={tmp_path / 'weights.safetensors'}", "clip_seconds=1", *TINY_SYNTH]
    main(compose("train", [*given, f"output_dir={tmp_path / 'run'}", "threads=1"]))
    norm = zoo.load_model(tmp_path / "run").backend.spec_bn
    assert norm.running_mean.abs().item() > 5 and norm.running_var.item() > 5  # of decibels
    assert norm.num_batches_tracked == 0


def test_a_trained_norm_is_not_calibrated() -> None:
    backend = build_named("model", "timm", {"name": "test_efficientnet"}, 1, 32)
    backend.train()(torch.randn(2, 1, 32, 64))
    before = backend.spec_bn.running_mean.clone()
    backend.calibrate(torch.randn(2, 1, 32, 64) + 7)
    assert torch.equal(backend.spec_bn.running_mean, before)
