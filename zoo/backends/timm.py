"""`timm`: any backbone of timm, the library of PyTorch image models.

Wightman 2019, PyTorch Image Models (Apache 2.0; the licence of pretrained weights is that of their
authors). https://github.com/huggingface/pytorch-image-models
"""

import difflib
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, group_parameters, load_state_dict
from torch import Tensor, nn

from zoo.backends.base import BackEnd
from zoo.backends.windows import mean_over_windows, pad
from zoo.errors import InputError

STEP = 32  # bins or frames: what most backbones make one step of
PRECISION = {"efficientnet": "fp32"}  # by family; for others, BackEnd's


class Timm(BackEnd):
    """`[B,C,F,N] -> [B,D]`: the backbone's own pooled features, those before its classifier.

    Bins and frames are padded to whole steps. Backbones of a fixed input size are built for
    windows of `frames`; of a longer clip they give the mean over windows. `pretrained` downloads
    the weights that timm names, `checkpoint` is a local file of such weights (safetensors, or
    pickled tensors). Raises `InputError` for a name that timm does not know, a backbone that takes
    no such spectrograms, and weights that are not there or another's.
    """

    accepts = ("spectrogram",)
    min_frames = STEP
    learned_here = ("spec_bn.",)

    def __init__(
        self,
        num_channels: int,
        num_bins: int,
        name: str = "efficientnet_b0",
        pretrained: bool = False,
        checkpoint: Path | None = None,
        frames: int = 256,
    ) -> None:
        super().__init__()
        config = look_up(name)
        self.step = step(name)
        self.frames = whole(frames, self.step) if config.fixed_input_size else None
        size = whole(num_bins, self.step), self.frames or self.step
        options: dict[str, Any] = {"in_chans": num_channels, "num_classes": 0}
        if config.fixed_input_size:
            options["img_size"] = size
        self.spec_bn = nn.BatchNorm2d(num_channels)
        self.model = create(name, options, size)
        if checkpoint is not None:
            self.model = load(name, options, Path(checkpoint), config)
        elif pretrained:
            self.model = download(name, options)
        self.num_features = self.model.head_hidden_size
        family = type(self.model).__module__.rpartition(".")[2]
        self.precision = PRECISION.get(family, BackEnd.precision)

    def forward(self, x_BCFN: Tensor) -> Tensor:
        bins, frames = (whole(length, self.step) for length in x_BCFN.shape[2:])
        x_BCFN = self.spec_bn(x_BCFN)
        if self.frames is None:
            return self.model(pad(x_BCFN, bins, frames))
        return mean_over_windows(self.model, pad(x_BCFN, bins, self.frames), self.frames)

    @torch.no_grad()
    def calibrate(self, x_BCFN: Tensor) -> None:
        """Bring the spectrograms to mean 0 and deviation 1, as backbones of images expect."""
        norm = self.spec_bn
        assert norm.running_mean is not None and norm.running_var is not None
        if not norm.num_batches_tracked:
            variance_C, mean_C = torch.var_mean(x_BCFN.float(), (0, 2, 3))
            norm.running_mean.copy_(mean_C)
            norm.running_var.copy_(variance_C)

    def layer_groups(self) -> list[list[nn.Module]]:
        if not hasattr(self.model, "group_matcher"):
            return [[self.spec_bn], [self.model]]
        names = group_parameters(self.model, self.model.group_matcher(coarse=False))
        return [[self.spec_bn], *(owners(self.model, group) for group in names.values())]


def look_up(name: str) -> PretrainedCfg:
    """Return what timm says about a backbone. Raises `InputError` for a name it does not know."""
    names = {*timm.list_models(), *timm.list_pretrained()}
    if name in names:
        return timm.get_pretrained_cfg(name) or PretrainedCfg()
    close = difflib.get_close_matches(name.lower(), names, n=3)
    advice = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists all."
    raise InputError(f"model.backend.name={name} is unknown to timm; {advice}")


def step(name: str) -> int:
    """Return what bins and frames must be a multiple of: patches of 14 do not divide `STEP`."""
    patch = re.search(r"patch(\d+)", name)
    return int(patch[1]) if patch and STEP % int(patch[1]) else STEP


def whole(length: int, step: int) -> int:
    """Round up to whole steps."""
    return (length + step - 1) // step * step  # ONNX divides negative numbers otherwise


def create(name: str, options: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """Return the backbone with random weights, seen to take an input of that size."""
    with explained(f"model.backend.name={name} does not take {size[0]} bins, {size[1]} frames"):
        model: Any = timm.create_model(name, **options)
        with torch.no_grad():
            model.eval()(torch.zeros(1, options["in_chans"], *size))
        return model.train()


def download(name: str, options: Mapping[str, Any]) -> Any:
    """Return the backbone with the weights that timm names."""
    with explained(f"model.backend.pretrained=true: no weights of {name} are to be had"):
        return timm.create_model(name, pretrained=True, **options)


def load(name: str, options: Mapping[str, Any], file: Path, config: PretrainedCfg) -> Any:
    """Return the backbone with all weights of the file but its classifier's.

    It is built with the file's number of classes: for another, timm lets any tensor be missing.
    """
    with explained(f"model.backend.checkpoint={file} holds no weights of {name}"):
        if not file.is_file():
            raise FileNotFoundError("there is no such file")
        state = load_state_dict(str(file), weights_only=True)
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise ValueError("some are NaN or infinite")
        named = config.classifier or ()
        heads = [f"{head}.weight" for head in ([named] if isinstance(named, str) else named)]
        classes = max((len(state[head]) for head in heads if head in state), default=0)
        overlay = {"state_dict": state, "num_classes": classes, "label_offset": 0}
        options = {**options, "num_classes": classes, "pretrained_cfg_overlay": overlay}
        model: Any = timm.create_model(name, pretrained=True, **options)
        model.reset_classifier(0)
        del model.pretrained_cfg["state_dict"]  # or it would be kept, and pickled
        return model


@contextmanager
def explained(sentence: str) -> Iterator[None]:
    """Raise `InputError` for what timm cannot do, with its reason."""
    try:
        yield
    except Exception as error:  # timm raises of all kinds
        reason = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
        raise InputError(f"{sentence}: {reason}") from error


def owners(model: nn.Module, names: list[str]) -> list[nn.Module]:
    """Return the modules that hold the parameters of those names; lists of them where a module
    holds others as well."""
    held: dict[str, list[nn.Parameter]] = defaultdict(list)
    for name in names:
        held[name.rpartition(".")[0]].append(model.get_parameter(name))
    modules: list[nn.Module] = []
    for owner, parameters in held.items():
        module = model.get_submodule(owner)
        alone = len(list(module.parameters())) == len(parameters)
        modules.append(module if alone else nn.ParameterList(parameters))
    return modules
