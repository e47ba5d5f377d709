"""What a model computes, as a program without this code: PyTorch's exporter and what it needs.

It follows one example. Where what a model computes depends on the clip's length, what it finds
holds for that length alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._decomp import global_decomposition_table
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config
from torch.utils._sympy.numbers import int_oo

from zoo import runtime
from zoo.model import GenreModel
from zoo.scores import chunk_length

BATCH = 3  # of the example; any number of two or more would do


class Both(nn.Module):
    """Waveform `[B,T]` to probabilities `[B,K]` and embedding `[B,D]`."""

    def __init__(self, model: GenreModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        x_BD = self.model.embed(waveform)
        return self.model.probabilities(self.model.classify(x_BD)), x_BD.float()


class LengthError(Exception):
    """What has been exported holds for a few lengths only."""


def capture(model: GenreModel, any_length: bool) -> tuple[ExportedProgram, int]:
    """Return the program of a model in evaluation mode, and the shortest waveform it is good for.

    Raises `LengthError`, or whatever PyTorch's exporter raises, where that is not possible.
    """
    clip = chunk_length(model)
    dynamic = {0: Dim.DYNAMIC} | ({1: Dim.DYNAMIC} if any_length else {})
    with exporting():
        program = torch.export.export(
            Both(model).eval(),
            (torch.zeros(BATCH, clip),),
            dynamic_shapes={"waveform": dynamic},
            strict=False,
        )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # names folders of this machine
    if not any_length:
        return program, clip
    (waveform,) = (node for node in program.graph.nodes if node.name == "waveform")
    lengths = program.range_constraints[waveform.meta["val"].shape[1].node.expr]
    if lengths.upper is not int_oo or lengths.lower > clip:
        raise LengthError("what it computes takes other steps for other lengths")
    return program, int(lengths.lower)


@contextmanager
def exporting() -> Iterator[None]:
    """What PyTorch's exporter needs: sizes of 1 are sizes like others, recurrent layers stay whole,
    and nobody reads what it has to say meanwhile."""
    rules = {torch.ops.aten.gru.input: _gru_shapes, torch.ops.aten.lstm.input: _lstm_shapes}
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    oblivious = _config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with torch.no_grad(), oblivious, runtime.silence(), ExitStack() as stack:
        stack.enter_context(_replaced(global_decomposition_table["post_autograd"], rules))
        for layer, rule in rules.items():
            stack.enter_context(_replaced(layer.py_kernels, {key: rule}))
        yield


@contextmanager
def _replaced(table: dict[Any, Any], values: dict[Any, Any]) -> Iterator[None]:
    before = dict(table)
    table.update(values)
    try:
        yield
    finally:
        table.clear()
        table.update(before)


def _gru_shapes(x: Tensor, state: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """What a GRU gives, in shape: PyTorch's own rule takes step after step, as many as there are in
    the example."""
    return x.new_empty((*x.shape[:2], state.shape[-1])), torch.empty_like(state)


def _lstm_shapes(x: Tensor, states: Sequence[Tensor], *_: object) -> tuple[Tensor, ...]:
    """Likewise for an LSTM."""
    out = x.new_empty((*x.shape[:2], states[0].shape[-1]))
    return out, *(torch.empty_like(state) for state in states)
