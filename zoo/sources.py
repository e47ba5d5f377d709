"""What `checkpoint=` names: a run, a folder of transformers or timm, a file, a name on the Hub.

Looked up in that order. Nothing is downloaded unless it is a name on the Hub. Imports no torch.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError
from zoo.registry import target

RUN_CONFIG = "config.yaml"  # in a run's folder
SUFFIXES = (".safetensors", ".pth", ".pt")  # of files of weights
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
OURS = ("model.safetensors", "adapter.safetensors")  # in the zoo's own model folders
PARTS = {"frontend": "frontend", "model": "backend"}  # groups, and what their arguments are of
HUB_FILES = ("*.json", "model-*.safetensors", "README.md", *OURS)
MODELS = {  # by model_type of transformers; `hf` takes any other
    "audio-spectrogram-transformer": "ast",
    "clap": "clap",
    "clap_audio_model": "clap",
    "data2vec-audio": "data2vec",
    "encodec": "encodec",
    "hubert": "hubert",
    "mert_model": "mert",
    "wav2vec2": "wav2vec2",
    "wav2vec2-bert": "wav2vec2_bert",
    "wavlm": "wavlm",
    "whisper": "whisper",
}


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    kind: str  # zoo, transformers, timm, file
    path: Path  # a folder, or a file
    licence: str | None = None  # as its README.md states it
    content: Mapping[str, Any] = field(default_factory=dict)  # of config.json


@dataclass(frozen=True)
class Implied:
    """What a checkpoint says of the configuration: choices of groups, and the arguments of front
    end and back end."""

    choices: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # frontend, model


def find(checkpoint: str | Path, remote: bool = True) -> Source:
    """Return what a checkpoint is; a name on the Hub is downloaded only if `remote` allows it.

    Raises `InputError` for what is none.
    """
    path = Path(checkpoint).expanduser()
    try:
        if folder := model_folder(path):
            return _of_folder(folder)
        is_folder = path.is_dir()
    except OSError as error:  # one may not look
        raise InputError(f"checkpoint={checkpoint} cannot be read: {error.strerror}.") from error
    if is_folder:
        raise InputError(
            f"checkpoint={checkpoint} holds no model: neither model/config.json nor config.json."
        )
    if is_file_of_weights(path):
        return Source("file", path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(checkpoint)) and not path.parent.is_dir():
        return _of_folder(download(str(checkpoint), remote))
    raise InputError(
        f"checkpoint={checkpoint} is neither a run, nor a folder of transformers or timm, nor a "
        f"file of weights ({', '.join(SUFFIXES)}), nor a name on the Hub (owner/model)."
    )


def model_folder(path: Path) -> Path | None:
    """Return the folder with a model's config.json: a run's, or the folder itself."""
    folders = (folder for folder in (path / "model", path) if (folder / "config.json").is_file())
    return next(folders, None)


def is_file_of_weights(path: Path) -> bool:
    """Tell whether a path is, or would be, a file of weights.

    Raises `InputError` for one that belongs to a run or a model folder.
    """
    if path.parent.name == "checkpoints":
        raise InputError(f"checkpoint={path} is part of a run; give the run's folder.")
    if path.name in OURS and (path.parent / "config.json").is_file():
        raise InputError(f"checkpoint={path} is part of a model; give its folder.")
    return path.suffix in SUFFIXES


def _of_folder(folder: Path) -> Source:
    content = read_json(folder / "config.json")
    kinds = {
        "zoo": {"model", "frontend", "classes"} <= content.keys(),
        "transformers": "model_type" in content,
        "timm": {"architecture", "num_classes"} <= content.keys(),
    }
    for kind, fits in kinds.items():
        if fits:
            return Source(kind, folder, licence(folder), content)
    raise InputError(
        f"{folder / 'config.json'} is neither that of a run nor of transformers or timm: it has no "
        "model_type."
    )


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file. Raises `InputError` if it cannot be read or is no mapping."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is no configuration: a {type(content).__name__}.")
    return content


def licence(folder: Path) -> str | None:
    """Return the licence that the model card in a folder states."""
    card = folder / "README.md"
    try:
        text = card.read_text("utf-8") if card.is_file() else ""
        header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        content = yaml.safe_load(header[1]) if header else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    stated = content.get("license") if isinstance(content, dict) else None
    return str(stated) if stated else None


@cache
def download(name: str, remote: bool = True) -> Path:
    """Return the local copy of a repository on the Hub, downloaded where it is not there yet and
    `remote` allows it.

    Raises `InputError` if it is not to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(name, allow_patterns=list(HUB_FILES), local_files_only=not remote)
        )
        if not any(folder.glob("*.safetensors")):
            snapshot_download(
                name, allow_patterns="pytorch_model*.bin", local_files_only=not remote
            )
        return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"{name} is no folder or file here, and was not to be had from the Hub ({reason}); "
            f"fetch it beforehand with `hf download {name} --local-dir DIR` and give DIR."
        ) from error


def implied(checkpoint: str, model: str | None) -> Implied:
    """Return what a checkpoint says; `model` is the one that was asked for.

    Raises `InputError` where it is none, or none of that model.
    """
    source = find(checkpoint)
    if source.kind == "file":
        return Implied({}, {"model": {"checkpoint": str(source.path)}} if model == "timm" else {})
    names = _models_of(source)
    if model not in (None, *names):
        raise InputError(f"checkpoint={checkpoint} is one of model={names[0]}, not of {model}.")
    name = model or names[0]
    if source.kind == "zoo":
        return _of_zoo(source)
    if source.kind == "timm":
        weights = {"checkpoint": str(source.path / "model.safetensors")}
        return Implied(
            {"model": name}, {"model": {"name": source.content["architecture"], **weights}}
        )
    try:
        settings = target("model", name).settings(source.content, _preprocessor(source.path))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"checkpoint={checkpoint}: its config.json or preprocessor_config.json is not as "
            f"transformers writes it: {error!r}."
        ) from error
    values = {"frontend": settings.frontend_args, "model": settings.backend_args}
    return Implied({"model": name, "frontend": settings.frontend}, values)


def _models_of(source: Source) -> list[str]:
    """Return the names of the models that a folder can be, the usual one first."""
    if source.kind != "transformers":
        return ["timm" if source.kind == "timm" else str(source.content["model"])]
    model_type = source.content["model_type"]
    alike = [MODELS.get(model_type, "hf"), "hf"]
    return [*alike, "mert"] if model_type == "hubert" else alike  # MERT is saved as either


def _of_zoo(source: Source) -> Implied:
    content = source.content
    choices = {kind: str(content[kind]) for kind in ("model", "frontend")}
    values = {kind: content.get(f"{part}_args") or {} for kind, part in PARTS.items()}
    if not all(isinstance(value, dict) for value in values.values()):
        raise InputError(f"{source.path / 'config.json'} is not the config of a Genre Zoo model.")
    return Implied(choices, values)


def of_run(file: Path) -> Implied:
    """Return what a run's configuration says of model, front end and fine-tuning, to resume it."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        choices = {kind: content[kind]["name"] for kind in ("model", "frontend", "finetune")}
        values = {"frontend": {**content["frontend"]}, "model": {**content["model"]["backend"]}}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not the configuration of a run: {error!r}.") from error
    del values["frontend"]["name"]
    for section in values.values():
        section.pop("_target_", None)
    return Implied(choices, values)


def _preprocessor(folder: Path) -> dict[str, Any]:
    for name in PREPROCESSORS:
        if (folder / name).is_file():
            content = read_json(folder / name)
            inner = content.get("feature_extractor")
            return inner if isinstance(inner, dict) else content
    raise InputError(
        f"{folder} holds no {PREPROCESSORS[0]}, which says the sample rate and the normalisation; "
        "add that of the model."
    )
