"""`python -m zoo.export`: one file that gives the model's numbers; int8, wrong inputs, uploads."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import onnx
import pytest
import torch

import zoo
from checkpoints import TINY, checkpoint
from hub_server import serve
from hub_uploads import READER, TOKEN, Uploads
from trained import train, write_library
from zoo import exporting_onnx, publish
from zoo.errors import InputError
from zoo.examples import find_examples
from zoo.export import SUFFIX, main, write
from zoo.exporting import TOLERANCE, TorchDraft, difference, export
from zoo.exporting_onnx import OnnxDraft
from zoo.frontends.base import as_convolutions
from zoo.model import GenreModel, fits
from zoo.opening import open_runner
from zoo.results import read_result
from zoo.runners import KEY
from zoo.runners_torch import about, load_calibrated
from zoo.scores import chunk_length

CONVERT = {"onnx": OnnxDraft.of, "torch": TorchDraft}
SMALL = {  # to be quick
    "vit": ("model.backend.embed_dim=48", "model.backend.depth=1"),
    "conformer": ("model.backend.embed_dim=48", "model.backend.depth=1"),
    "timm": ("model.backend.name=test_efficientnet",),
}
SLOW = pytest.mark.slow
FIXED = {"clap", "vit"}  # in both formats, at the sizes here


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `music` and a `run` on it."""
    folder = tmp_path_factory.mktemp("export")
    write_library(folder / "music")
    train(folder)
    return folder


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


@pytest.fixture(scope="module")
def files(home: Path) -> dict[str, Path]:
    """The run in both formats."""
    before = Path.cwd()
    os.chdir(home)
    try:
        for form in CONVERT:
            main(["run", "--format", form, "--out", f"files/model{SUFFIX[form]}"])
    finally:
        os.chdir(before)
    return {form: home / "files" / f"model{SUFFIX[form]}" for form in CONVERT}


def small(name: str, folder: Path | None = None) -> GenreModel:
    """Return a model, tiny where it is a transformer, whose norms have seen music."""
    torch.manual_seed(0)
    if name in TINY:
        assert folder is not None
        model = zoo.create_model(name, checkpoint=checkpoint(name, folder), num_classes=5)
        return model.eval()
    model = zoo.create_model(name, num_classes=5, overrides=SMALL.get(name, ()))
    return settled(model)


def settled(model: GenreModel) -> GenreModel:
    x_BT = torch.from_numpy(music(model)[:4]).float() / 32768
    with torch.no_grad():
        for _ in range(3):
            model.train()(x_BT)
    return model.eval()


def music(model: GenreModel) -> np.ndarray:
    return find_examples("", model).samples_BT


@pytest.mark.parametrize("form", CONVERT)
def test_a_file_gives_the_numbers_of_the_model(form, here, files):
    model, runner = load_calibrated("run"), open_runner(files[form], 1)
    samples = find_examples("run", model).samples_BT
    clip = chunk_length(model)
    for batch, length in ((1, clip), (2, clip), (5, clip), (3, 2 * clip + 1), (1, 5 * clip)):
        apart = difference(model, runner.run, np.resize(samples, (batch, length)))
        assert apart.is_small and np.isfinite(apart).all(), (batch, length)


@pytest.mark.parametrize("form", CONVERT)
def test_a_file_says_what_it_is(form, here, files):
    known, model = open_runner(files[form], 1).about, load_calibrated("run")
    assert replace(known, min_samples=0) == replace(about(model), min_samples=0)
    assert known.calibrated is not None and known.any_length
    assert model.min_samples <= known.min_samples < known.clip_samples


def test_inputs_and_outputs_of_onnx_are_named_and_dynamic(files):
    graph = onnx.load(files["onnx"]).graph
    shapes = {v.name: v.type.tensor_type.shape.dim for v in (*graph.input, *graph.output)}
    assert list(shapes) == ["waveform", "probabilities", "embedding"]
    batch, samples = shapes["waveform"]
    assert batch.dim_param and samples.dim_param
    assert shapes["probabilities"][0].dim_param == shapes["embedding"][0].dim_param
    assert shapes["probabilities"][1].dim_value == 3


def test_the_command_says_what_it_wrote_and_how_it_was_checked(here, capsys):
    main(["run", "--out", "said.onnx"])
    said, result = capsys.readouterr().out, read_result(Path("run"))
    assert re.search(r"wrote said.onnx \(\d\.\d\d MB\): linear on mel", said)
    assert re.search(r"float32 in \[-1, 1\] at 16000 Hz; any batch; samples: \d+ \(.* s\) or", said)
    assert "classes: bass, hiss, tone" in said and "temperature: " in said
    apart = re.search(r"of test tracks of (.*): (\S+) in probabilities, (\S+) in embed", said)
    assert apart is not None and apart[1] == result.protocol.dataset
    assert max(float(apart[2]), float(apart[3])) <= TOLERANCE
    main(["run/model", "--audio", "music/hiss", "music/tone/00.flac", "--out", "said.onnx"])
    assert "00.flac, 01.flac, 02.flac, 03.flac" in capsys.readouterr().out
    main(["run/model", "--out", "said.onnx"])
    assert "of music that Genre Zoo composed" in capsys.readouterr().out


def test_onnx_runs_without_torch(here, files):
    code = (
        "import sys; from zoo.predict import main; "
        f"main([{str(files['onnx'])!r}, 'music/hiss', '--out', 'hiss.csv']); "
        "print([m for m in ('torch', 'transformers', 'timm') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("form", CONVERT)
def test_no_file_names_a_folder_of_this_machine(form, here, files):
    content = files[form].read_bytes()
    if zipfile.is_zipfile(files[form]):
        with zipfile.ZipFile(files[form]) as archive:
            assert all(name.startswith("model/") for name in archive.namelist())
            content = b"".join(map(archive.read, archive.namelist()))
    for folder in (Path(zoo.__file__).parents[1], Path(torch.__file__).parents[1], here):
        assert str(folder).encode() not in content


@pytest.mark.parametrize("name", ["crnn", "fcn", pytest.param("sample_cnn", marks=SLOW)])
def test_any_length_is_meant(name):
    """`fcn` clips its poolings to short clips, `crnn` takes steps, `sample_cnn` waveforms."""
    model = small(name)
    samples = music(model)
    made = export(model, OnnxDraft.of, samples)
    assert made.about.any_length and "or more" in made.lengths
    clip, shortest = chunk_length(model), made.about.min_samples
    assert model.min_samples <= shortest <= clip
    for length in (shortest, shortest + 1, shortest + 777, clip, 3 * clip + 5):
        assert difference(model, made.draft.run, np.resize(samples, (2, length))).is_small, length
    kinds = Counter(node.op_type for node in made.draft.proto.graph.node)
    assert kinds["GRU"] == (2 if name == "crnn" else 0)


def test_where_other_lengths_take_other_steps_the_length_is_fixed(tmp_path):
    model = small("vit")
    made = export(model, OnnxDraft.of, music(model))
    assert made.lengths == (
        "160000 (10 s), fixed: what it computes takes other steps for other lengths"
    )
    write(made, model, tmp_path / "x.onnx", find_examples("", model))
    known = open_runner(tmp_path / "x.onnx", 1).about
    assert not known.any_length and known.min_samples == known.clip_samples == 160_000


@pytest.mark.parametrize("name", ["musicnn", "sample_cnn", pytest.param("res1d", marks=SLOW)])
def test_plain_convolutions_give_the_same(name):
    model = small(name)
    x_BT = torch.from_numpy(music(model)[:2]).float() / 32768
    with torch.no_grad():
        expected = model.embed(x_BT)
        with as_convolutions():
            torch.testing.assert_close(model.embed(x_BT), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", CONVERT)
def test_other_numbers_than_the_models_are_not_written(form, here, tmp_path):
    model, other = load_calibrated("run"), load_calibrated("run")
    examples = find_examples("run", model)
    made = export(model, CONVERT[form], examples.samples_BT)
    with torch.no_grad():
        other.head.bias[0] += 0.01
    with pytest.raises(InputError, match=r"is not written: .* by up to \d.\de-03 in probabilities"):
        write(made, other, tmp_path / f"x{SUFFIX[form]}", examples)
    assert not list(tmp_path.iterdir())


def test_int8_says_what_it_costs(here, capsys):
    main(["run", "--int8", "--out", "small.onnx"])
    said, result = capsys.readouterr().out, read_result(Path("run"))
    rows = re.search(
        r"accuracy on (\d+) test tracks (\S+) in float32, (\S+) in int8 \((\S+)\)", said
    )
    assert rows is not None and said.endswith("with 8 bits: 1 MatMul\n")
    right = result.metrics["test"]["accuracy"]
    assert float(rows[2]) == pytest.approx(right, abs=1.01 / int(rows[1]))  # that is in bfloat16
    assert float(rows[4]) == pytest.approx(float(rows[3]) - float(rows[2]), abs=2e-4)
    known = open_runner(here / "small.onnx", 1).about
    assert known.weights == f"{about(load_calibrated('run')).weights}-int8"


def test_int8_is_a_quarter_and_leaves_the_front_end():
    model = small("fcn")
    samples = music(model)
    made = export(model, OnnxDraft.of, samples)
    assert isinstance(made.draft, OnnxDraft)
    rounded = made.draft.quantised()
    assert rounded.kinds == "5 Conv, 1 MatMul"  # of the back end and the head
    kernels = model.frontend.mel.stft.wcos.numel() * 2 * 4
    assert rounded.size - kernels < 0.35 * (made.draft.size - kernels)
    floats = {t.name: t for t in rounded.proto.graph.initializer if t.data_type == 1}
    assert max(np.prod(t.dims) for t in floats.values()) * 4 == kernels
    apart = difference(model, rounded.run, samples)
    assert TOLERANCE < apart.embedding < 0.2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["music"], "music holds no model: neither model/config.json nor config.json."),
        (["bare"], "bare/model.safetensors does not hold its weights: No such file"),
        (["run", "--int8", "--format", "torch"], "--int8 is possible with --format onnx only."),
        (["run/model", "--int8"], "--int8 measures what it costs on the test tracks of a run, but"),
        (["run", "--out", "x.pt2"], "--out x.pt2 must end in .onnx, as --format onnx asks for."),
        (["run", "--out", "music/tone/00.flac/x.onnx"], "00.flac/x.onnx cannot be written: "),
        (["run", "--audio", "gone.mp3"], "gone.mp3 does not exist; give audio files, and folders"),
        (["run", "--audio", "run/log.csv"], "--audio run/log.csv "),
        (["run", "--push-to-hub", "name"], "--push-to-hub name must be a name on the Hub, OWNER/"),
    ],
)
def test_wrong_input_is_one_sentence(here, arguments, sentence):
    if not Path("bare").is_dir():
        shutil.copytree("run/model", "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(InputError) as error:
        main(arguments)
    said = str(error.value)
    assert sentence in said and "\n" not in said
    assert not Path("linear.onnx").exists()


def test_a_run_without_its_music_names_the_way_out(here, tmp_path):
    run = tmp_path / "run"
    shutil.copytree("run", run)
    text = (run / "result.json").read_text().replace('"path": "music"', '"path": "gone"')
    (run / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"gone.*; or give --audio PATH with music\.$"):
        main([str(run)])


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named(package, here, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs {package}.* pip install 'genre-zoo\[onnx\]'"):
        main(["run", "--out", "x.onnx"])


@pytest.mark.parametrize("form", CONVERT)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_one_sentence(form, share, files, tmp_path):
    content = files[form].read_bytes()
    cut = tmp_path / f"cut{SUFFIX[form]}"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as error:
        open_runner(cut)
    assert str(error.value).startswith(f"{cut} ") and "\n" not in str(error.value)
    assert "whole" in str(error.value) or "was not written by" in str(error.value)


def test_a_file_of_somebody_else_is_refused(files, tmp_path):
    other = onnx.load(files["onnx"])
    (entry,) = [entry for entry in other.metadata_props if entry.key == KEY]
    entry.value = json.dumps({"classes": ["rock"]})
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"was not written by `python -m zoo.export`\.$"):
        open_runner(tmp_path / "other.onnx")


def test_what_is_too_large_for_onnx_is_said(here, monkeypatch):
    monkeypatch.setattr(exporting_onnx, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"2 GiB at most: take --format torch\.$"):
        main(["run", "--out", "x.onnx"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Yield the folder that is `some/one` on a Hub of our own."""
    root = tmp_path / "hub"
    root.mkdir()
    with serve(root, Uploads) as (address, _):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield root


def test_an_upload_is_complete_and_loads(here, files, hub):
    model = load_calibrated("run")
    address = publish.push(model, Path("run"), files["onnx"], "some/one")
    assert address.endswith("/some/one")
    names = ["README.md", "config.json", "model.onnx", "model.safetensors"]
    assert sorted(file.name for file in hub.iterdir()) == names
    assert (hub / "model.onnx").read_bytes() == files["onnx"].read_bytes()
    x_BT = torch.from_numpy(music(model)[:2]).float() / 32768
    again = zoo.load_model(hub)
    assert torch.equal(again(x_BT), model(x_BT)) and again.config == model.config
    card = (hub / "README.md").read_text()
    assert "python -m zoo.predict some/one song.mp3" in card
    assert (
        f"| accuracy          | {read_result(Path('run')).metrics['test']['accuracy']:.3f} " in card
    )


def test_an_upload_of_a_model_alone_says_no_scores(here, files, hub):
    publish.push(load_calibrated("run/model"), Path("run/model"), files["onnx"], "some/one")
    assert "accuracy" not in (hub / "README.md").read_text()


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (READER, "the token has no right to write there; take a name of your own."),
        ("hf_other", "the Hub wants a token that it knows; log in with `hf auth login`, or set HF"),
        (None, "the Hub wants a token that it knows; log in with `hf auth login`, or set HF_TOKEN"),
    ],
)
def test_an_upload_that_the_hub_refuses(token, sentence, here, files, hub, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError) as error:
        publish.push(load_calibrated("run"), Path("run"), files["onnx"], "some/one")
    assert sentence in str(error.value) and not list(hub.iterdir())


def test_an_upload_without_a_network(here, files, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"^--push-to-hub some/one was not possible: .*refused\.$"):
        publish.push(load_calibrated("run"), Path("run"), files["onnx"], "some/one")


@pytest.mark.slow
def test_the_whole_command_and_back_again(here, tmp_path):
    """By the real client, in processes of its own."""
    (tmp_path / "hub").mkdir()
    with serve(tmp_path / "hub", Uploads) as (address, _):
        ours = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN}
        environment = {**os.environ, **ours, "HF_HUB_DISABLE_XET": "1"}
        for command in (
            ["run", "--push-to-hub", "some/one", "--out", "a.onnx"],
            ["some/one", "--format", "torch", "--out", "b.pt2"],
        ):
            ran = subprocess.run(
                [sys.executable, "-m", "zoo.export", *command], env=environment, capture_output=True
            )
            assert ran.returncode == 0, ran.stderr
    weights = {open_runner(here / name, 1).about.weights for name in ("a.onnx", "b.pt2")}
    assert len(weights) == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", CONVERT)
@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_can_be_exported(name, form, tmp_path):
    model = small(name, tmp_path / "checkpoint")
    examples = find_examples("", model)
    made = export(model, CONVERT[form], examples.samples_BT)
    assert made.about.any_length or "fixed: " in made.lengths
    assert not (name in FIXED and made.about.any_length)
    assert write(made, model, tmp_path / f"x{SUFFIX[form]}", examples).is_small


@pytest.mark.slow
@pytest.mark.parametrize("frontend", zoo.list_frontends())
def test_every_front_end_can_be_exported(frontend, tmp_path):
    name = "linear" if fits("linear", frontend) else "sample_cnn"
    torch.manual_seed(0)
    model = settled(zoo.create_model(name, frontend=frontend, num_classes=5))
    examples = find_examples("", model)
    made = export(model, OnnxDraft.of, examples.samples_BT)
    assert made.about.any_length or frontend == "filterbank"
    assert write(made, model, tmp_path / "x.onnx", examples).is_small
