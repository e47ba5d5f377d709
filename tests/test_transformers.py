"""Audio transformers from checkpoint to scores, each from a tiny random one in a folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers as hf
from torch import Tensor

import zoo
from checkpoints import TINY, checkpoint, extracted, published_logits
from conftest import TINY_SYNTH, torchrun
from zoo.checkpoint import write
from zoo.config import compose
from zoo.errors import InputError
from zoo.finetune import check, source_of, take_weights
from zoo.frontends.whisper_mel import pad_to
from zoo.model import GenreModel
from zoo.registry import choices
from zoo.train import main
from zoo.trainer import Trainer

CLASSIFIERS = ("ast", "wav2vec2", "hubert", "wavlm", "data2vec", "wav2vec2_bert", "whisper", "hf")
SECONDS = {"whisper": 30.0, "ast": 3.0}  # of clips that transformers does not pad; others: any
METHODS = [method for method in choices("finetune") if method != "scratch"]
QUICK = ("full", "head", "lora")  # what `make test` trains
BRIEF = ("epochs=1", "clip_seconds=1", "threads=1", "ema_decay=0", *TINY_SYNTH)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each back end."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: checkpoint(name, root / name) for name in TINY}


def load(*arguments: str | Path) -> GenreModel:
    """Return the model that training would start from."""
    config = compose("train", [str(argument) for argument in arguments])
    source = source_of(config)
    assert source is not None
    return source


def sound(rate: int, seconds: float, batch: int = 2) -> Tensor:
    """Return a tone that swells in noise."""
    noise = torch.randn(batch, round(rate * seconds), generator=torch.Generator().manual_seed(0))
    time = torch.arange(noise.shape[1]) / rate
    return 0.05 * noise * (1 + time.sin()) + 0.3 * (time * 2 * torch.pi * 440).sin()


@pytest.mark.parametrize("name", TINY)
def test_a_folder_is_all_it_takes(name: str, folders: dict[str, Path]) -> None:
    config = compose("train", [f"checkpoint={folders[name]}"])
    assert config.model.name == name and config.finetune.name == "full"
    model = load(f"checkpoint={folders[name]}").eval()
    extractor = hf.AutoFeatureExtractor.from_pretrained(folders[name])
    assert model.sample_rate == extractor.sampling_rate
    with torch.no_grad():
        assert model(sound(model.sample_rate, 1.0)).isfinite().all()


@pytest.mark.parametrize("name", TINY)
def test_front_ends_give_what_the_extractors_give(name: str, folders: dict[str, Path]) -> None:
    model = load(f"checkpoint={folders[name]}")
    x_BT = sound(model.sample_rate, 2.0)
    given = extracted(folders[name], x_BT)
    expected = given.get("input_values", given.get("input_features"))
    ours = model.frontend(x_BT)
    if name == "whisper":
        ours = pad_to(ours, 3000)[:, 0]
    elif name in ("ast", "wav2vec2_bert"):
        ours = ours[:, 0].transpose(1, 2)
        expected = expected[:, : ours.shape[1]]  # the rest is padding
    elif name == "clap":
        ours = ours.transpose(2, 3)
    torch.testing.assert_close(ours, expected.reshape(ours.shape), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_are_those_of_transformers_own_class(name: str, tmp_path: Path) -> None:
    folder = checkpoint(name, tmp_path, classes=5)
    model = zoo.create_model(name, checkpoint=folder)
    x_BT = sound(model.sample_rate, SECONDS.get(name, 2.0))
    with torch.no_grad():
        expected = published_logits(hf.AutoModelForAudioClassification, folder, x_BT)
        torch.testing.assert_close(model(x_BT), expected, atol=1e-5, rtol=1e-5)
    assert model.config.classes == tuple(f"LABEL_{i}" for i in range(5))


@pytest.mark.parametrize("layers", ["1", "weighted", "last"])
@pytest.mark.parametrize("pooling", ["mean", "mean_std", "attention"])
def test_layers_and_pooling(layers: str, pooling: str, folders: dict[str, Path]) -> None:
    given = (f"model.backend.layers={layers}", f"model.backend.pooling={pooling}")
    model = load(f"checkpoint={folders['hubert']}", *given).train()
    depth = 1 if layers == "1" else 2
    assert len(model.backend.blocks()) == depth
    x_BT = sound(16_000, 0.5)
    model(x_BT).square().sum().backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning.values())
    theirs = hf.HubertModel.from_pretrained(folders["hubert"]).eval()
    model.eval()
    with torch.no_grad():
        hidden = theirs(model.frontend(x_BT), output_hidden_states=True).hidden_states
        mixed = {"1": hidden[1], "last": hidden[2], "weighted": torch.stack(hidden).mean(0)}
        expected = mixed[layers].mean(1)
        features_BD = model.embed(x_BT)[:, : expected.shape[1]]
    if pooling != "attention":
        torch.testing.assert_close(features_BD, expected, atol=1e-5, rtol=1e-5)


def test_a_learned_sum_of_layers_has_no_use_for_the_checkpoints_head(tmp_path: Path) -> None:
    folder = checkpoint("hubert", tmp_path, classes=5)
    assert load(f"checkpoint={folder}").config.classes[0] == "LABEL_0"
    weighted = load(f"checkpoint={folder}", "model.backend.layers=weighted")
    assert weighted.config.classes == ("class_0", "class_1")


@pytest.mark.parametrize("name", [n for n in TINY if n not in ("clap", "encodec", "wavlm")])
def test_attention_is_fused(name: str, folders: dict[str, Path]) -> None:
    """Where transformers has it: not for WavLM, CLAP's tower and EnCodec."""
    model = load(f"checkpoint={folders[name]}")
    assert model.backend.model.config._attn_implementation == "sdpa"


def test_more_layers_than_a_run_has_are_refused(folders: dict[str, Path]) -> None:
    source = load(f"checkpoint={folders['hubert']}", "model.backend.layers=1")
    config = load(f"checkpoint={folders['hubert']}").config
    with pytest.raises(InputError, match=r"no weights for backend\.model\.encoder\.layers\.1"):
        take_weights(GenreModel(config), source)


def test_a_head_of_other_features_is_not_taken(folders: dict[str, Path]) -> None:
    source = load(f"checkpoint={folders['ast']}")
    assert "new head: the checkpoint has none" in take_weights(GenreModel(source.config), source)
    source.has_head = True
    wide = load(f"checkpoint={folders['ast']}", "model.backend.pooling=mean_std").config
    assert "its own reads other features" in take_weights(GenreModel(wide), source)


def test_a_run_goes_on_when_its_checkpoint_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint("hubert", tmp_path / "base")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    given = [f"checkpoint={folder}", f"output_dir={tmp_path / 'run'}", *BRIEF, "epochs=2"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:  # once the first epoch is saved
        context.setattr(Trainer, "_save", lambda self, **_: (write(self), interrupted()))
        with pytest.raises(KeyboardInterrupt):
            main(compose("train", given))
    shutil.rmtree(folder)
    main(compose("train", [*given, "resume=true"]))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["costs"]["epochs"] == 2 and result["licence"] == "mit"


def test_a_key_that_transformers_alone_knows_may_be_added(folders: dict[str, Path]) -> None:
    key = "model.backend.config.hidden_dropout"
    model = load(f"checkpoint={folders['hubert']}", f"+{key}=0.35")
    assert model.backend.model.config.hidden_dropout == 0.35
    assert f"{key} is unknown" in refusal(f"checkpoint={folders['hubert']}", f"{key}=0.35")


def test_probes_learn_no_attention(folders: dict[str, Path]) -> None:
    given = ("finetune=head", "model.backend.pooling=attention")
    with pytest.raises(InputError, match="finetune=head learns no attention"):
        check(compose("train", [f"checkpoint={folders['hubert']}", *given]))


def test_gradient_checkpointing_gives_the_same_gradients(folders: dict[str, Path]) -> None:
    grads = []
    for on in ("false", "true"):
        torch.manual_seed(0)  # of the head, and of the dropout
        given = f"model.backend.gradient_checkpointing={on}"
        model = load(f"checkpoint={folders['wav2vec2']}", given).train()
        model(sound(16_000, 0.5)).square().sum().backward()
        grads.append(model.backend.blocks()[0].attention.q_proj.weight.grad)
    assert grads[0].abs().sum() > 0
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-4)


def trained(folder: Path, run: Path, *arguments: str) -> dict:
    """Train and return the result."""
    main(compose("train", [f"checkpoint={folder}", f"output_dir={run}", *BRIEF, *arguments]))
    result = json.loads((run / "result.json").read_text())
    scores = pd.read_parquet(run / "scores.parquet")
    assert len(scores) and scores.filter(like="p:").notna().all(axis=None)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TINY)
def test_every_method_trains_every_transformer(
    name: str, method: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    if name == "encodec" and method in ("lora", "adapter"):  # all its layers have a weight norm
        with pytest.raises(InputError, match="model=encodec has no layers that take adapters"):
            trained(folders[name], tmp_path / "run", f"finetune={method}")
        return
    trained(folders[name], tmp_path / "run", f"finetune={method}")
    again(tmp_path / "run")


@pytest.mark.parametrize(
    "method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in METHODS]
)
def test_every_method_trains_a_transformer(
    method: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    result = trained(folders["hubert"], tmp_path / "run", f"finetune={method}")
    costs = result["costs"]
    assert 0 <= costs["trainable_parameters"] <= costs["parameters"]
    assert (costs["trainable_parameters"] > 0.9 * costs["parameters"]) == (
        method in ("full", "layerwise")
    )
    again(tmp_path / "run")


def again(run: Path) -> None:
    """The saved model gives the saved scores: `zoo.evaluate` says so."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo.evaluate", str(run)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().splitlines()[-1]
    assert said == "The same numbers, exactly." or float(said.rstrip(".").split()[-1]) < 1e-5, said


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_two_processes_train_every_transformer(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Under DDP, which refuses parameters that get no gradient."""
    arguments = [f"checkpoint={folders[name]}", f"output_dir={tmp_path / 'run'}", *BRIEF]
    done = torchrun(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["hardware"]["num_processes"] == 2


def refusal(*arguments: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments)
    return str(caught.value)


def test_a_checkpoint_of_another_kind(folders: dict[str, Path]) -> None:
    said = refusal("model=ast", f"checkpoint={folders['hubert']}")
    assert said == f"checkpoint={folders['hubert']} is one of model=hubert, not of ast."
    assert "not of crnn" in refusal("model=crnn", f"checkpoint={folders['hubert']}")


@pytest.mark.parametrize("damage", ["no config", "no preprocessor", "no weights", "cut", "NaN"])
def test_damaged_folders(damage: str, tmp_path: Path) -> None:
    folder = checkpoint("hubert", tmp_path / "x")
    weights = folder / "model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "no preprocessor":
        (folder / "preprocessor_config.json").unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        model = hf.HubertModel.from_pretrained(folder)
        model.encoder.layers[0].attention.q_proj.weight.data[0, 0] = float("nan")
        model.save_pretrained(folder)
    said = refusal(f"checkpoint={folder}")
    expected = {
        "no config": "holds no model: neither model/config.json nor config.json",
        "no preprocessor": "holds no preprocessor_config.json, which says the sample rate",
        "no weights": "holds no weights that can be read",
        "cut": "holds no weights that can be read",
        "NaN": "encoder.layers.0.attention.q_proj.weight holds NaN or infinite values",
    }
    assert expected[damage] in said and "\n" not in said and len(said) < 500


def test_weights_that_are_missing_or_of_another_shape(tmp_path: Path) -> None:
    folder = checkpoint("hubert", tmp_path)
    file = folder / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "num_hidden_layers": 3}))
    assert "encoder.layers.2.attention.k_proj.bias is missing" in refusal(f"checkpoint={folder}")
    file.write_text(json.dumps({**content, "intermediate_size": 40}))
    assert "has another shape" in refusal(f"checkpoint={folder}")
    file.write_text(json.dumps({**content, "hidden_size": 33}))
    assert "model.backend.config is none of hubert" in refusal(f"checkpoint={folder}")


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("frontend.normalize=false", "give frontend.normalize=True as well"),
        ("frontend.sample_rate=8000", "give frontend.sample_rate=16000 as well"),
        ("frontend=waveform_24k", "reads frontend=waveform, not waveform_24k"),
        ("frontend=mel", "reads frontend=waveform, not mel"),
        ("model.backend.config.do_stable_layer_norm=true", "do_stable_layer_norm is unknown"),
        ("model.backend.config.num_attention_heads=4", "num_attention_heads=2 as well"),
        ("model.backend.layers=3", "must be last, weighted, or one of the numbers from 1 to 2"),
        ("model.backend.pooling=max", "pooling"),
    ],
)
def test_settings_that_the_weights_were_not_trained_with(
    typed: str, asked: str, folders: dict[str, Path]
) -> None:
    assert asked in refusal(f"checkpoint={folders['hubert']}", typed)
