"""What `checkpoint=` names, and what follows from it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

import zoo
from zoo.config import compose
from zoo.errors import InputError
from zoo.finetune import check, model_config, rates, source_of, weights_hash
from zoo.model import GenreModel
from zoo.registry import choices, target
from zoo.results import recipe_hash
from zoo.sources import MODELS, find


def refusal(*arguments: str) -> str:
    with pytest.raises(InputError) as caught:
        config = compose("train", arguments)
        check(config)
        source_of(config)
    return str(caught.value)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose model differs from the defaults."""
    options = ["frontend.n_mels=64", "model.backend.dropout=0.25"]
    model = zoo.create_model("crnn", num_classes=3, overrides=options)
    model.save_pretrained(tmp_path / "run" / "model")
    return tmp_path / "run"


def test_a_run_brings_its_model_and_front_end(run: Path) -> None:
    config = compose("train", [f"checkpoint={run}"])
    assert (config.model.name, config.frontend.name, config.finetune.name) == (
        "crnn",
        "mel",
        "full",
    )
    assert config.frontend.n_mels == 64 and config.model.backend.dropout == 0.25
    assert config.optimizer.lr == pytest.approx(1e-4)
    typed = compose("train", [f"checkpoint={run}", "model.backend.dropout=0.5", "finetune=head"])
    assert typed.model.backend.dropout == 0.5 and typed.finetune.name == "head"
    assert compose("train", ["checkpoint=null"]).finetune.name == "scratch"


def test_scratch_takes_the_architecture_alone(run: Path) -> None:
    config = compose("train", [f"checkpoint={run}", "finetune=scratch"])
    assert config.frontend.n_mels == 64 and config.optimizer.lr == pytest.approx(1e-3)
    assert source_of(config) is None


def test_a_run_is_found_before_the_folder_it_lies_in(run: Path) -> None:
    (run / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    assert find(run).kind == "zoo" and find(run / "model").kind == "zoo"


def test_the_licence_is_that_of_the_model_card(run: Path) -> None:
    assert find(run).licence is None
    (run / "model" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags: [x]\n---\n# Name\n")
    assert find(run).licence == "cc-by-nc-4.0"
    for broken in ("---\n[\n---\n", "no header", "---\n- a\n---\n"):
        (run / "model" / "README.md").write_text(broken)
        assert find(run).licence is None


def test_a_folder_of_timm(tmp_path: Path) -> None:
    """In the form of the Hub: config.json and model.safetensors."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_efficientnet", num_classes=7)
    config = {"architecture": "test_efficientnet", "num_classes": 7, "num_features": 256}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(backbone.state_dict(), tmp_path / "model.safetensors")
    composed = compose("train", [f"checkpoint={tmp_path}"])
    assert composed.model.name == "timm" and composed.finetune.name == "full"
    model = source_of(composed)
    assert model is not None
    assert torch.equal(
        model.backend.model.conv_stem.weight.sum(1), backbone.conv_stem.weight.sum(1)
    )
    file = compose("train", ["model=timm", "model.backend.name=test_efficientnet",
                             f"checkpoint={tmp_path / 'copy.safetensors'}"])  # fmt: skip
    assert file.model.backend.checkpoint == str(tmp_path / "copy.safetensors")


def test_a_folder_of_timm_is_no_crnn(tmp_path: Path) -> None:
    config = {"architecture": "test_efficientnet", "num_classes": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = refusal("model=crnn", f"checkpoint={tmp_path}")
    assert said == f"checkpoint={tmp_path} is one of model=timm, not of crnn."


def test_one_recipe_wherever_the_checkpoint_lies(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    hashes = set()
    for folder in (run, tmp_path / "copy"):
        config = compose("train", [f"checkpoint={folder}"])
        source = source_of(config)
        assert source is not None
        content: Any = OmegaConf.to_container(config)
        hashes.add(recipe_hash(content, weights_hash(source)))
    assert len(hashes) == 1
    with torch.no_grad():
        next(source.backend.parameters()).add_(1.0)
    assert recipe_hash(content, weights_hash(source)) not in hashes


def test_from_scratch_a_checkpoint_gives_the_recipe_no_path(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    contents: list[Any] = [
        OmegaConf.to_container(compose("train", [f"checkpoint={folder}", "finetune=scratch"]))
        for folder in (run, tmp_path / "copy")
    ]
    assert recipe_hash(contents[0]) == recipe_hash(contents[1])


def test_what_names_nothing_is_refused(tmp_path: Path, run: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(f"checkpoint={tmp_path / 'empty'}").endswith(
        "empty holds no model: neither model/config.json nor config.json."
    )
    assert "is neither a run, nor a folder" in refusal(f"checkpoint={tmp_path / 'nothing'}")
    assert "is neither a run, nor a folder" in refusal("checkpoint=hubert")
    (tmp_path / "empty" / "config.json").write_text('{"a": 1}')
    assert "it has no model_type" in refusal(f"checkpoint={tmp_path / 'empty'}")
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "is not JSON" in refusal(f"checkpoint={tmp_path / 'empty'}")
    (run / "checkpoints").mkdir()
    assert "is part of a run; give the run's folder" in refusal(
        f"checkpoint={run / 'checkpoints' / 'last.pt'}"
    )


def test_names_and_arguments_of_a_stranger_are_not_believed(run: Path) -> None:
    file = run / "model" / "config.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps({**before, "model": "../recipe/zoo"}))
    assert "model=../recipe/zoo is unknown" in refusal(f"checkpoint={run}")
    file.write_text(json.dumps({**before, "backend_args": {"_target_": "os.system"}}))
    assert "takes no '_target_'" in refusal(f"checkpoint={run}")


def test_a_name_on_the_hub_without_network_says_how_to_fetch_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    said = refusal("checkpoint=facebook/hubert-base-ls960")
    assert said.startswith("facebook/hubert-base-ls960 is no folder or file here")
    assert "hf download facebook/hubert-base-ls960 --local-dir DIR" in said


@pytest.mark.parametrize("method", [m for m in choices("finetune") if m != "scratch"])
def test_methods_need_weights(method: str) -> None:
    assert refusal("model=crnn", f"finetune={method}") == (
        f"finetune={method} needs weights to start from: give checkpoint=... as well (a run, a "
        "folder, a file or a name on the Hub)."
    )


def test_scratch_and_pretrained_contradict_each_other() -> None:
    given = ("model=timm", "model.backend.pretrained=true")
    assert compose("train", given).finetune.name == "full"
    assert "takes random weights" in refusal(*given, "finetune=scratch")


@pytest.mark.parametrize("model", ["crnn", "vit", "linear"])
def test_each_layer_has_its_own_rate(model: str, tmp_path: Path) -> None:
    """From the front end to the head, each layer group 0.75 times that of the next."""
    made = zoo.create_model(model, overrides=["frontend.engine=nnaudio", "frontend.trainable=true"])
    made.save_pretrained(tmp_path)
    config = compose("train", [f"checkpoint={tmp_path}", "finetune=layerwise"])
    groups = rates(made, config)
    layers = made.backend.layer_groups()
    assert len(groups) == len(layers) + 2
    assert [scale for _, scale in groups] == [0.75**i for i in reversed(range(len(groups)))]
    assert {id(p) for p in groups[-1][0]} == {id(p) for p in made.head.parameters()}
    assert {id(p) for p in groups[0][0]} == {id(p) for p in made.frontend.parameters()}
    grouped = [id(p) for parameters, _ in groups for p in parameters]
    assert sorted(grouped) == sorted(id(p) for p in made.parameters())


def test_layer_wise_training_moves_each_layer_at_its_rate(run: Path) -> None:
    """A first step of SGD with Nesterov's momentum is the rate times 1.9 times the gradient."""
    from zoo.recipe import make_optimizer, read_phases

    model = GenreModel.from_pretrained(run)
    config = compose("train", [f"checkpoint={run}", "finetune=layerwise", "optimizer.name=sgd"])
    optimizer = make_optimizer(rates(model, config), read_phases(config.optimizer)[0])
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = 1e-3 * group["scale"], 0.0
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: (before[name] - p).abs().mean() for name, p in model.named_parameters()}
    last = len(model.backend.layer_groups()) + 1
    for depth, group in enumerate([*model.backend.layer_groups(), [model.head]], start=1):
        ids = {id(p) for module in group for p in module.parameters()}
        names = [name for name, p in model.named_parameters() if id(p) in ids]
        expected = 1e-3 * 0.75 ** (last - depth) * 1.9
        for name in names:
            assert moved[name].item() == pytest.approx(expected, rel=1e-2), name


def test_frozen_parts_stay_in_evaluation() -> None:
    model = zoo.create_model("short_chunk_cnn")
    model.backend.requires_grad_(False)
    model.train()
    assert model.training and model.head.training
    assert not any(module.training for module in model.backend.modules())
    before = {name: buffer.clone() for name, buffer in model.backend.named_buffers()}
    model(torch.randn(2, model.min_samples))
    after = dict(model.backend.named_buffers())
    assert all(torch.equal(buffer, after[name]) for name, buffer in before.items())


def test_the_table_of_model_types_is_that_of_the_classes() -> None:
    for model_type, name in MODELS.items():
        if name in choices("model") and model_type not in ("clap", "mert_model"):
            assert target("model", name).model_type == model_type


def test_the_configuration_names_its_origin(run: Path) -> None:
    import pandas as pd

    from zoo.datasets.base import Manifest

    frame = pd.DataFrame({"track": ["a", "b"], "path": ["a", "b"], "label": ["x", "y"]})
    manifest = Manifest("m", frame)
    tuned = model_config(compose("train", [f"checkpoint={run}"]), manifest, 1.0)
    assert tuned.base == str(run) and tuned.classes == ("x", "y")
    scratch = model_config(
        compose("train", [f"checkpoint={run}", "finetune=scratch"]), manifest, 1.0
    )
    assert scratch.base is None
