"""From `key=value` to a checked configuration: right values, and one sentence for each mistake."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf

from conftest import TINY_SYNTH, Run
from zoo import config as config_module
from zoo import registry, values
from zoo.config import assign, command, compose
from zoo.errors import InputError, nearest
from zoo.registry import choices, configs_dir, groups, parameters, read_choice

ROOT = Path(__file__).parents[1]


def refusal(*arguments: str, name: str = "train") -> str:
    """Return the sentence with which the arguments are refused."""
    with pytest.raises(InputError) as caught:
        compose(name, arguments)
    return str(caught.value)


def run_python(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    environment = {**os.environ, **env}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


# --- values


def test_values_are_set_in_their_types() -> None:
    config = compose(
        "train",
        [
            *("model=linear", "frontend.n_mels=64", "optimizer.lr=1e-3", "min_steps=1e3"),
            *("frontend.f_max=7000", "loss.class_weights=True", "seed=3", "dataset.folds=5"),
        ],
    )
    assert config.model.backend == {"_target_": "zoo.backends.linear.Linear"}
    assert (config.model.name, config.frontend.name, config.dataset.name) == (
        *("linear", "mel", "synth"),
    )
    expected = {
        "frontend.n_mels": 64,
        "optimizer.lr": 0.001,
        "min_steps": 1000,
        "frontend.f_max": 7000.0,
        "loss.class_weights": True,
        "seed": 3,
        "dataset.folds": 5,
    }
    for key, value in expected.items():
        found = OmegaConf.select(config, key)
        assert found == value and type(found) is type(value), key
    with pytest.raises(Exception, match="read-only"):
        config.seed = 4


def test_what_wins_over_what() -> None:
    train = OmegaConf.load(configs_dir() / "train.yaml")
    model = read_choice("model", "linear")
    assert compose("train", ["model=linear"]).model.dropout == model["model"]["dropout"]
    assert compose("train", ["model=linear"]).seed == train.seed
    assert compose("train", ["model.dropout=0.25", "model=linear"]).model.dropout == 0.25
    assert compose("train", ["seed=1", "seed=2"]).seed == 2
    assert compose("train", ["epochs=3", "epochs=null"]).epochs is None
    assert compose("train", ["model=linear", "model=crnn"]).model.name == "crnn"


def test_a_model_wins_over_the_defaults_and_the_user_over_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a front end and a model of our own in a copy of configs/."""
    folder = shutil.copytree(configs_dir(), tmp_path / "configs")
    mel = (folder / "frontend" / "mel.yaml").read_text()
    (folder / "frontend" / "mel48.yaml").write_text(mel.replace("n_mels: 96", "n_mels: 48"))
    linear = (folder / "model" / "linear.yaml").read_text()
    mine = linear.replace("/frontend: mel", "/frontend: mel48") + "batch_size: 7\n"
    (folder / "model" / "mine.yaml").write_text(mine)
    (folder / ".trash").mkdir()
    (folder / ".trash" / "x.yaml").touch()
    (folder / "hardware").mkdir()
    (folder / "hardware" / "fast.yaml").write_text("# @package _global_\nepochs: 1\n")
    monkeypatch.setattr(registry, "configs_dir", lambda: folder)
    monkeypatch.setattr(config_module, "configs_dir", lambda: folder)
    cached = (registry.groups, registry.choices, registry.targets)
    for function in cached:
        function.cache_clear()
    try:
        assert "hardware" in groups() and ".trash" not in groups()
        config = compose("train", ["model=mine"])
        assert (config.batch_size, config.frontend.name, config.frontend.n_mels) == (7, "mel48", 48)
        config = compose("train", ["frontend=mel", "batch_size=9", "model=mine"])
        assert (config.batch_size, config.frontend.name, config.frontend.n_mels) == (9, "mel", 96)
        assert refusal("hardware=fast").startswith("train hardware=fast: ")
    finally:
        for function in cached:
            function.cache_clear()


def test_a_keyword_that_the_yaml_does_not_list_takes_a_plus() -> None:
    def content() -> dict[str, Any]:
        return {"frontend": {"_target_": "zoo.frontends.mel.Mel", "n_mels": 96}, "seed": 0}

    given = content()
    assert assign(given, ["+frontend.f_max=7000"]).frontend.f_max == 7000.0
    assert assign(given, ["++frontend.engine=fft"]).frontend.engine == "fft"
    assert assign(given, ["+seed=2"]).seed == 2
    assert given == content()
    mistakes = {
        "frontend.engine=fft": "has no default; add it with +frontend.engine=fft.",
        "+frontend.f_maxx=1": "frontend takes no 'f_maxx'; did you mean f_max?",
        "+frontend.f_max=high": "must be a number.",
        "+frontend.trainable=1": "must be true or false.",
    }
    for wrong, words in mistakes.items():
        with pytest.raises(InputError, match=re.escape(words)):
            assign(given, [wrong])


def test_values_of_a_run_can_be_changed_again() -> None:
    before = compose("train", ["dataset=folder", "dataset.path=~/a", "epochs=3"])
    content = OmegaConf.to_container(before)
    assert isinstance(content, dict)
    after = assign(content, ["dataset.path=~/b", "epochs=null", "frontend.f_max=null"])
    assert after.dataset.path == str(Path.home() / "b") and after.epochs is None
    assert assign(content, []) == before


PATHS = [
    *("Beyoncé", "it's", "AC#DC", "a=b", "Rock & Roll (live)", "100%", "a,b", "[x]", "{y}"),
    *("$HOME x", " leading space", "trailing space ", "1234", "true", "1e3", "~nobody at all/x"),
    *("${x}", "${seed}", "${", "\\${seed}", "\\\\${a", "a\\", "a:b", "- a", '"q"', "a/../b//c/"),
    *("?", "*", "x | y", "é\u0301", "レゲエ", "a\tb", "a\nb", "!!x", "&a", "@b", "`c`", "..."),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_come_back_as_they_were_typed(path: str) -> None:
    arguments = ["dataset=folder", f"dataset.path={path}", f"output_dir=~/{path}"]
    config = compose("train", arguments)
    saved = OmegaConf.create(OmegaConf.to_yaml(config))
    again = assign(OmegaConf.to_container(config), [])  # type: ignore[arg-type]
    for found in (config, saved, again):
        assert found.dataset.path == path
        assert found.output_dir == f"{Path.home()}/{path}"


def test_paths_that_stand_for_something_else() -> None:
    assert compose("train", ["output_dir=~"]).output_dir == str(Path.home())
    config = compose("train", ["dataset=folder", "dataset.path=null", "output_dir=null"])
    assert config.dataset.path is None and config.output_dir is None
    assert refusal("dataset=folder", "dataset.path=") == "dataset.path= is empty; give a path."
    assert "??? is" in refusal("output_dir=???")


def test_a_folder_with_a_difficult_name_is_read(tmp_path: Path) -> None:
    from zoo.prepare import load_manifest

    for name in (*PATHS[:15], "${seed}", "\\${x"):
        for track in ("a/1.wav", "a/2.wav", "a/3.wav", "b/1.wav", "b/2.wav", "b/3.wav"):
            (tmp_path / name / track).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / track).touch()
        config = compose("train", ["dataset=folder", f"dataset.path={tmp_path / name}"])
        found = load_manifest(config)
        assert found.name == name and Path(found.frame["path"][0]).is_file()


# --- mistakes

MISTAKES = {
    "model=crn": "model=crn is unknown; did you mean crnn?",
    "model=CRNN": "model=CRNN is unknown; did you mean crnn?",
    "modle=crnn": "modle is unknown; did you mean model?",
    "dataset=": f"dataset= is unknown; known are {', '.join(choices('dataset'))}.",
    "model.dropuot=1": "model.dropuot is unknown; did you mean model.dropout",
    "+model.dropuot=1": "model takes no 'dropuot'; did you mean dropout?",
    "dropout=1": "dropout is unknown; did you mean model.dropout or model.backend.dropout?",
    "lr=1": "lr is unknown; did you mean optimizer.lr?",
    "foo.bar=1": "foo.bar is unknown; known are audit, augment, batch_size,",
    "+foo=1": "the configuration takes no 'foo'; known are audit, augment, batch_size,",
    "+frontend.foo=1": "frontend takes no 'foo'; known are compression, engine, f_max, f_min,",
    "+dataset.cache=1": "dataset takes no 'cache'; known are artists, seconds, tracks.",
    "+optimizer.foo=1": "optimizer takes no 'foo'; known are clip_norm, decay, lr, name,",
    "recipe=publishd": "recipe=publishd is unknown; did you mean published?",
    "recipe.name=zoo": "recipe.name cannot be set; choose with recipe=NAME instead.",
    "optimizer.lr=fast": "optimizer.lr=fast must be a number, such as 0.001.",
    "optimizer.lr=nan": "optimizer.lr=nan must be a number, such as 0.001.",
    "optimizer.lr=-1": "optimizer.lr=-1 must be at least 0.",
    "seed=abc": "seed=abc must be a whole number, such as 0.",
    "seed=": "seed= must be a whole number, such as 0.",
    "seed=null": "seed=null must be a whole number, such as 0.",
    "seed=true": "seed=true must be a whole number, such as 0.",
    "seed=-1": "seed=-1 must be between 0 and 4294967295.",
    "seed.x.y=1": "seed.x.y is unknown; did you mean seed?",
    "epochs=0": "epochs=0 must be at least 1.",
    "epochs=many": "epochs=many must be a whole number.",
    "batch_size=2.5": "batch_size=2.5 must be a whole number, such as 8.",
    "batch_size=1": "batch_size=1 must be at least 2.",
    "dataset.max_bad=2": "dataset.max_bad=2 must be between 0 and 1.",
    "dataset.path=x": "dataset.path is not a key of dataset=synth, but of dataset=f",
    "loss.class_weights=maybe": "loss.class_weights=maybe must be true or false, such as false.",
    "train": "'train' is not of the form key=value, such as model=crnn.",
    "--epochs=3": "'--epochs=3' is not of the form key=value",
    "~optimizer": "'~optimizer' is not of the form key=value",
    "a b=1": "'a b=1' is not of the form key=value",
    "hydra.run.dir=x": "hydra.run.dir is unknown; known are",
    "model=../model/crnn": "model=../model/crnn is unknown; known are ",
    "model.backend.dropout=x": "model.backend.dropout=x must be a number, such as 0.0.",
    "model.backend.dropout=2": "model.backend.dropout=2 must be between 0 and 1.",
    "model.backend=3": "model.backend is a section and takes no value itself; its keys: model.",
    "optimizer=sgd": "optimizer is a section and takes no value itself; its keys: optimizer.name,",
    "model.name=x": "model.name cannot be set; choose with model=NAME instead.",
    "model.backend._target_=os.system": "model.backend._target_ cannot be set; choose with model=",
    "+model._target_=os.system": "model takes no '_target_'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_sentence_and_exit_code_2(
    mistake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "model=crnn", mistake])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as exit_:
        command("train", lambda config: pytest.fail("the command ran"), "about")
    shown = capsys.readouterr()
    assert exit_.value.code == 2 and shown.out == ""
    assert shown.err.startswith(f"error: {MISTAKES[mistake]}")
    assert shown.err.count("\n") == 1 and shown.err.rstrip().endswith((".", "?"))


def test_a_key_of_another_model_names_that_model() -> None:
    message = refusal("model=linear", "model.backend.dropout=0.1")
    assert message.startswith("model.backend.dropout is not a key of model=linear, but of model=")
    assert "model=crnn" in message


def test_mistakes_that_models_and_machines_find(tmp_path: Path) -> None:
    """All in one process, because each imports torch."""
    code = """if True:
        import io, runpy, sys, contextlib
        for argument in sys.argv[1:]:
            sys.argv, err = ["train", "model=linear", *SMALL, argument], io.StringIO()
            try:
                with contextlib.redirect_stderr(err):
                    runpy.run_module("zoo.train", run_name="__main__")
            except SystemExit as end:
                print(end.code, err.getvalue().strip().splitlines()[-1])
    """.replace("SMALL", repr(TINY_SYNTH))
    wrong = ["frontend.engine=foo", "frontend.f_max=99999", "precision=fp8"]
    wrong += ["frontend=waveform", "evaluation=all", "optimizer.name=sdg", "optimizer.decay=fast"]
    done = run_python("-c", code, *wrong, cwd=tmp_path)
    lines = done.stdout.strip().splitlines()
    assert len(lines) == len(wrong), done.stderr
    assert lines[0] == "2 error: frontend.engine=foo must be one of auto, fft, nnaudio."
    assert lines[1].startswith("2 error: frontend.f_min=0 and f_max=99999 must")
    assert lines[2:] == [
        "2 error: precision=fp8 must be one of auto, fp32, bf16, fp16.",
        "2 error: model=linear does not take frontend=waveform (a waveform); those that fit: "
        + ", ".join(name for name in choices("frontend") if "waveform" not in name)
        + ".",
        "2 error: evaluation=all must be one of complete, published.",
        "2 error: optimizer.name=sdg must be one of adamw, adam, sgd.",
        "2 error: optimizer.decay=fast must be one of cosine, none.",
    ]
    assert not list(tmp_path.iterdir())  # refused before any data is read, any folder made


@pytest.mark.parametrize("mistake", ["modle=crnn", "dataset.path=x", "train"])
def test_mistakes_on_the_real_command_line(mistake: str, tmp_path: Path, python: Run) -> None:
    done = python("zoo.prepare" if "=" in mistake else "zoo.train", mistake, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+[.?]\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_the_traceback_is_for_developers(tmp_path: Path) -> None:
    done = run_python("-m", "zoo.train", "seed=abc", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1 and "Traceback" in done.stderr and "seed=abc" in done.stderr


def test_nearest() -> None:
    assert nearest("CRN", ["crnn", "linear"]) == "did you mean crnn?"
    assert nearest("x", ["b", "a"]) == "known are a, b."
    assert nearest("x", []) == "nothing is known."
    assert nearest("label", [1, "Lable"]) == "did you mean Lable?"


# --- the command


def test_help_imports_no_torch(tmp_path: Path) -> None:
    code = """if True:
        import runpy, sys
        sys.argv = ["train", "--help"]
        runpy.run_module("zoo.train", run_name="__main__")
        print("torch" in sys.modules)
    """
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.endswith("\nFalse\n") and not list(tmp_path.iterdir())
    assert "usage: python -m zoo.train" in done.stdout
    for group in ("model", "frontend", "dataset"):
        assert f"  {group}={'|'.join(choices(group))}\n" in done.stdout
    assert "\n  batch_size: " in done.stdout and "\n    lr: " in done.stdout


def test_help_of_prepare_shows_its_own_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare", "-h"])
    command("prepare", lambda config: pytest.fail("the command ran"), "about")
    shown = capsys.readouterr().out
    assert shown.startswith("about\n") and "\n  listen_clips: " in shown and "\n  seed: " in shown


def test_cfg_prints_the_configuration_and_makes_nothing(tmp_path: Path, python: Run) -> None:
    done = python("zoo.train", "--cfg", "job", "model=linear", "output_dir=a b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert OmegaConf.create(done.stdout) == compose("train", ["model=linear", "output_dir=a b"])
    assert not list(tmp_path.iterdir())


# --- within other Hydra applications


def singletons() -> dict[type, object]:
    return dict(Singleton._instances)


@pytest.fixture
def their_configs(tmp_path: Path) -> Path:
    (tmp_path / "theirs.yaml").write_text("defaults:\n  - _self_\n  - model: big\nvalue: 3\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "big.yaml").write_text("width: 9\n")
    return tmp_path


def test_a_hydra_application_keeps_its_state(their_configs: Path) -> None:
    with initialize_config_dir(str(their_configs), job_name="their_job", version_base="1.2"):
        hydra, before = GlobalHydra.instance().hydra, singletons()
        base = VersionBase.instance().getbase()
        for _ in range(2):
            assert compose("train", ["model=linear"]).model.name == "linear"
            assert "crnn" in refusal("model=crn")
            with pytest.raises(InputError):
                compose("no such configuration")
        assert GlobalHydra.instance().hydra is hydra
        assert JobRuntime.instance().get("name") == "their_job"
        assert VersionBase.instance().getbase() == base and str(base) == "1.2"
        after = singletons()
        assert all(after[cls] is instance for cls, instance in before.items())
        assert hydra_compose("theirs") == {"value": 3, "model": {"width": 9}}
    assert not GlobalHydra.instance().is_initialized()


def test_inside_a_hydra_main(their_configs: Path) -> None:
    (their_configs / "app.py").write_text(
        "import hydra, zoo\n"
        "from hydra.core.hydra_config import HydraConfig\n"
        "from hydra.utils import to_absolute_path\n"
        "@hydra.main(config_path='.', config_name='theirs', version_base=None)\n"
        "def main(config):\n"
        "    model = zoo.create_model('linear', num_classes=3)\n"
        "    name = HydraConfig.get().job.name\n"
        "    print(len(model.config.classes), config.model.width, config.value, name)\n"
        "main()\n"
    )
    done = run_python("app.py", "value=4", cwd=their_configs)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 9 4 app\n"


# --- where the configurations are


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (["pyproject.toml", "configs/train.yaml"], "configs"),
        (["pyproject.toml"], "zoo/configs"),
        (["configs/train.yaml"], "zoo/configs"),
        ([], "zoo/configs"),
    ],
)
def test_the_repository_wins_over_the_packaged_copy(
    tmp_path: Path, beside: list[str], expected: str
) -> None:
    shutil.copytree(ROOT / "zoo", tmp_path / "zoo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(configs_dir(), tmp_path / "zoo" / "configs", dirs_exist_ok=True)
    for name in beside:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    code = "import zoo.registry; print(zoo.registry.configs_dir())"
    done = run_python("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path / expected), done.stderr
    if not beside:
        code = "from zoo.config import compose; print(compose('train', ['seed=5']).seed)"
        done = run_python("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        assert done.stdout == "5\n", done.stderr


# --- the project's configurations


def leaves(section: DictConfig, prefix: str = "") -> Iterator[tuple[str, str, Any, DictConfig]]:
    for name, value in section.items():
        if isinstance(value, DictConfig):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(name), value, section


@pytest.mark.parametrize("group", ["model", "frontend", "dataset"])
@pytest.mark.parametrize("name", ["train", "prepare"])
def test_every_configuration_composes_and_every_key_has_a_type(name: str, group: str) -> None:
    for choice in choices(group):
        config = compose(name, [f"{group}={choice}"])
        assert config[group].name == choice
        for key, leaf, value, section in leaves(config):
            allowed = parameters(section._target_) if "_target_" in section else {}
            kind, nullable = values.value_type(key, value, allowed.get(leaf))
            assert kind is not type(None), f"{key} has no known type: see NULLABLE"
            assert value is not None or nullable, f"{key} may not be null"
            if value is not None and leaf in values.RANGES:
                low, high = values.RANGES[leaf]
                assert low <= value <= high, key


COMMON = {"folds", "fold", "split_seed", "planted", "max_bad", "shots", "download"}
COMMON |= {"share", "held_out", "name", "_target_"}


@pytest.mark.parametrize(
    ("group", "choice"), [(g, c) for g in ("model", "frontend", "dataset") for c in choices(g)]
)
def test_every_key_of_a_target_is_one_of_its_arguments(group: str, choice: str) -> None:
    section = compose("train", [f"{group}={choice}"])[group]
    section = section.backend if group == "model" else section
    assert section._target_ in registry.targets()
    assert set(section) - COMMON <= set(parameters(section._target_))
    required = {
        name
        for name, p in inspect.signature(registry.locate(section._target_)).parameters.items()
        if p.default is p.empty and name in parameters(section._target_)
    }
    assert required <= set(section)


@pytest.mark.parametrize("model", choices("model"))
def test_every_model_opens_with_its_source_and_its_command(model: str) -> None:
    lines = (configs_dir() / "model" / f"{model}.yaml").read_text("utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    comment = []
    for line in lines[1:]:
        if not line.startswith("#"):
            break
        comment.append(line)
    assert re.search(r"\b(19|20)\d\d\b|Baseline", "\n".join(comment)), "name the paper, or Baseline"
    assert any(f"python -m zoo.train model={model}" in line for line in comment)


def test_targets_of_somebody_else_are_never_called() -> None:
    config = assign({"dataset": {"_target_": "os.system", "name": "x"}}, [])
    with pytest.raises(InputError, match=r"os\.system is none of"):
        registry.build(config.dataset)
    with pytest.raises(InputError, match=r"os\.system is none of"):
        assign({"dataset": {"_target_": "os.system", "path": "x"}}, ["dataset.path=y"])
    with pytest.raises(InputError, match="mel takes no '_target_'"):
        registry.build_named("frontend", "mel", {"_target_": "os.system"})
    with pytest.raises(InputError, match="did you mean mel"):
        registry.build_named("frontend", "mell", {})
