"""`finetune=lora` and `finetune=adapter`: what learns, what is saved, and what is loaded."""

import copy
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

import zoo
from conftest import TINY_SYNTH, torchrun
from zoo import evaluate, finetune
from zoo.adapters import choose_layers, merge
from zoo.backends.timm import Timm
from zoo.config import compose
from zoo.errors import InputError
from zoo.model import GenreModel
from zoo.results import read_result
from zoo.train import main as train
from zoo.weights import their_name

METHODS = ["lora", "adapter"]
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96, "conv_dim": [32] * 7}
TINY_VIT = ("model.backend.embed_dim=48", "model.backend.depth=2")


def wav2vec2(folder: Path, **kwargs: Any) -> None:
    overrides = [f"model.backend.config.{k}={v}" for k, v in TINY.items()]
    zoo.create_model("wav2vec2", overrides=overrides, **kwargs).save_pretrained(folder)


def hubert(folder: Path) -> None:
    """A folder as transformers writes it."""
    HubertModel(HubertConfig(**TINY, num_attention_heads=3)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)


def timm_file(file: Path) -> None:
    """A file of timm's weights."""
    save_file(Timm(1, 128, name="test_efficientnet").model.state_dict(), file)


def published_file(file: Path) -> None:
    """A file with the published names of a CRNN's weights."""
    model = zoo.create_model("crnn")
    names = {their_name(n, model.backend.published or {}): t for n, t in model.state_dict().items()}
    save_file({n: t.contiguous() for n, t in names.items() if n is not None}, file)


def of(name: str, *overrides: str) -> Callable[[Path], None]:
    return lambda folder: zoo.create_model(name, overrides=overrides).save_pretrained(folder)


BASES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "wav2vec2": (wav2vec2, []),
    "hubert": (hubert, ["model.backend.layers=weighted", "model.backend.pooling=attention"]),
    "crnn": (of("crnn"), []),
    "vit": (of("vit", *TINY_VIT), []),
    "timm": (of("timm", "model.backend.name=test_vit"), []),
    "timm.safetensors": (timm_file, ["model=timm", "model.backend.name=test_efficientnet"]),
    "crnn.safetensors": (published_file, ["model=crnn"]),
}


def tuned(base: Path, method: str, *more: str) -> GenreModel:
    """Return a model as a run with adapters begins."""
    config = compose("train", [f"checkpoint={base}", f"finetune={method}", *more])
    source = finetune.source_of(config)
    assert source is not None
    manifest: Any = SimpleNamespace(classes=("a", "b", "c"), multilabel=False)
    model = GenreModel(finetune.model_config(config, manifest, 1.0))
    finetune.take_weights(model, source)
    assert finetune.adapt(model, config)
    return model


def learning(model: GenreModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def awaken(model: GenreModel) -> None:
    """Give the adapters, which change nothing at first, an effect."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "ia3_l" in name:
            nn.init.normal_(parameter, mean=float("ia3_l" in name), std=0.1)


@torch.no_grad()
def logits(model: GenreModel) -> Tensor:
    x_BT = torch.randn(2, model.min_samples + 400, generator=torch.Generator().manual_seed(0))
    return model.eval()(0.1 * x_BT)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", BASES)
def test_what_learns_is_what_is_saved(kind: str, method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, arguments = BASES[kind]
    make(tmp_path / kind)
    model = tuned(tmp_path / kind, method, *arguments)
    ours = ("head.", *(f"backend.{start}" for start in model.backend.learned_here))
    added = {name for name in learning(model) if not name.startswith(ours)}
    assert added and all(".lora_" in name or ".ia3_l." in name for name in added)
    assert {"head.weight", "head.bias"} <= learning(model)

    awaken(model)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()(0.1 * torch.randn(2, model.min_samples + 400)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    optimizer.step()
    moved = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    statistics = {n for n in moved if n.startswith("backend.spec_bn.") and n not in learning(model)}
    assert moved - statistics <= learning(model) and moved & added
    assert not statistics or kind.startswith("timm")  # whose input norm is ours

    expected = logits(model)
    model.save_pretrained(tmp_path / "run" / "model")
    assert not (tmp_path / "run" / "model" / "model.safetensors").exists()
    saved = load_file(tmp_path / "run" / "model" / "adapter.safetensors")
    assert saved.keys() == {*learning(model), *statistics, "base"} | {
        n for n in before if n.startswith(ours)
    }
    merged = zoo.load_model(tmp_path / "run")
    assert merged.config.adapter is None and not merged.training
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-5)
    frozen = {"backend.model.masked_spec_embed"} & {n for n, _ in merged.named_parameters()}
    assert {n for n, _ in merged.named_parameters()} - learning(merged) == frozen
    assert merged.state_dict().keys() == GenreModel(merged.config).state_dict().keys()

    merged.save_pretrained(tmp_path / "whole")
    shutil.rmtree(tmp_path / "run")
    assert torch.equal(logits(zoo.load_model(tmp_path / "whole")), logits(merged))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["conformer", "mn", "musicnn", "self_attention", "wavlm"])
def test_merged_is_what_was_trained(name: str, method: str) -> None:
    """Also where layers have groups, dilation, a weight norm, or are only read."""
    torch.manual_seed(0)
    config = compose("train", [f"model={name}", f"finetune={method}"])
    model = zoo.create_model(name)
    plain = logits(model)
    finetune.adapt(model, config)
    torch.testing.assert_close(logits(model), plain)
    awaken(model)
    expected = logits(model)
    assert (expected - plain).abs().max() > 1e-3
    merge(model)
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_few_percent_are_saved(method: str, tmp_path: Path) -> None:
    zoo.create_model("wav2vec2").save_pretrained(tmp_path / "base")
    tuned(tmp_path / "base", method).save_pretrained(tmp_path / "run")
    whole = (tmp_path / "base" / "model.safetensors").stat().st_size
    assert (tmp_path / "run" / "adapter.safetensors").stat().st_size < whole / 20


def test_what_is_frozen_rests_in_training(tmp_path: Path) -> None:
    of("crnn")(tmp_path)
    backend: Any = tuned(tmp_path, "lora").train().backend
    assert not any(m.training for m in backend.modules() if isinstance(m, nn.BatchNorm2d))
    assert not backend.layer1.conv.base_layer.training and backend.layer1.training
    assert backend.layer5.training  # or cuDNN has no gradients of a GRU


def test_models_with_adapters_can_be_copied_and_pickled(tmp_path: Path) -> None:
    wav2vec2(tmp_path / "base")
    model = tuned(tmp_path / "base", "lora")
    awaken(model)
    expected = logits(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.config == model.config
        assert torch.equal(logits(other), expected)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder with adapters on `base`, named from the current folder."""
    monkeypatch.chdir(tmp_path)
    wav2vec2(Path("base"))
    tuned(Path("base"), "lora").save_pretrained(Path("run"))
    return tmp_path / "run"


def test_the_base_is_found_here_or_where_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = logits(zoo.load_model(run))
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert torch.equal(logits(zoo.load_model(run)), expected)
    (run.parent / "base").rename(elsewhere / "base")
    assert torch.equal(logits(zoo.load_model(run)), expected)
    (elsewhere / "base").rename(elsewhere / "other")
    message = r"checkpoint=base, which it needs; that is neither there nor at .*base\."
    with pytest.raises(InputError, match=message):
        zoo.load_model(run)


def test_another_base_is_refused(run: Path) -> None:
    torch.manual_seed(5)
    wav2vec2(Path("base"))
    with pytest.raises(InputError, match=r"checkpoint=base, of which the weights have changed"):
        zoo.load_model(run)
    zoo.create_model("wav2vec2").save_pretrained(Path("base"))
    with pytest.raises(InputError, match=r"checkpoint=base, of which the weights have changed"):
        zoo.load_model(run)


def test_damaged_adapters_are_refused(run: Path) -> None:
    file = run / "adapter.safetensors"
    tensors = load_file(file)
    save_file({n: t for n, t in tensors.items() if "lora_A" not in n}, file)
    with pytest.raises(InputError, match=r"adapter.safetensors does not hold its weights"):
        zoo.load_model(run)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"adapter.safetensors does not hold its weights"):
        zoo.load_model(run)
    with pytest.raises(InputError, match=r"is part of a model; give its folder"):
        zoo.create_model("wav2vec2", checkpoint=file)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("wav2vec2", ["finetune.targets=[q_prj]"], r"q_prj ends the name of no layer .* q_proj, "),
        ("wav2vec2", ["finetune.targets=[q_proj, head]"], "head ends the name of no layer"),
        ("wavlm", ["finetune.targets=[q_proj]"], r"q_proj ends .* such are .*output_dense"),
        ("crnn", ["finetune.targets=[layer5]"], r"layer5 ends .*; such are conv\."),
        ("sample_cnn", [], r"model=sample_cnn has no layers that take adapters"),
    ],
)
def test_targets_that_name_nothing(model: str, arguments: list[str], message: str) -> None:
    config = compose("train", [f"model={model}", "finetune=lora", *arguments])
    with pytest.raises(InputError, match=message):
        finetune.adapt(zoo.create_model(model), config)


def test_targets_choose_layers() -> None:
    model = zoo.create_model("wav2vec2")
    section = compose("train", ["finetune=lora", "finetune.targets=[0.attention.q_proj]"]).finetune
    assert choose_layers(model, section) == ["model.encoder.layers.0.attention.q_proj"]


def test_adapters_need_weights_and_a_rank() -> None:
    with pytest.raises(InputError, match="finetune=lora needs weights to start from"):
        finetune.check(compose("train", ["model=crnn", "finetune=lora"]))
    with pytest.raises(InputError, match=r"finetune\.rank=0 must be at least 1"):
        compose("train", ["model=crnn", "finetune=lora", "finetune.rank=0"])


def values(folder: Path, *more: str) -> list[str]:
    short = ("epochs=1", "clip_seconds=1", "threads=1")
    return [f"output_dir={folder}", *short, *TINY_SYNTH, *more]


@pytest.mark.parametrize("method", METHODS)
def test_runs(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, resumed after the end, evaluated, and trained on from."""
    torch.manual_seed(0)
    wav2vec2(tmp_path / "base")
    arguments = values(tmp_path / "run", f"checkpoint={tmp_path / 'base'}", f"finetune={method}")
    folder = train(compose("train", arguments))
    what = {"lora": "LoRA of rank 8 in 4", "adapter": "(IA)3 in 6"}[method]
    assert f"{what} layers, and the head" in capsys.readouterr().out
    result = read_result(folder)
    model = zoo.load_model(folder)
    assert result.costs.parameters == sum(p.numel() for p in model.parameters())
    assert result.costs.trainable_parameters < result.costs.parameters / 10

    before = logits(model)
    (folder / "result.json").unlink()  # killed when it had only to conclude
    train(compose("train", [*arguments, "resume=true"]))
    assert read_result(folder).metrics == result.metrics
    assert torch.equal(logits(zoo.load_model(folder)), before)

    capsys.readouterr()
    evaluate.main([str(folder)])
    assert "The same numbers, exactly." in capsys.readouterr().out

    again = [f"checkpoint={folder}", "finetune=full" if method == "lora" else "finetune=layerwise"]
    whole = train(compose("train", values(tmp_path / "whole", *again)))
    assert "its head too" in capsys.readouterr().out
    assert (whole / "model" / "model.safetensors").exists()
    more = train(compose("train", values(tmp_path / "more", again[0], f"finetune={method}")))
    assert (more / "model" / "adapter.safetensors").exists()
    assert zoo.load_model(more).config.base == str(folder)


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    wav2vec2(tmp_path / "base")
    given = ("finetune=lora", "checkpoint=base", *values(tmp_path / "run"))
    done = torchrun(tmp_path, *given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("layers, and the head") == 1
    assert read_result(tmp_path / "run").hardware.num_processes == 2
    zoo.load_model(tmp_path / "run")
