"""The ONNX form of a model: what onnxruntime reads, in float32 or with 8-bit weights."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from zoo import runtime
from zoo.capture import capture, exporting
from zoo.errors import InputError
from zoo.exporting import Draft
from zoo.frontends.base import as_convolutions
from zoo.model import GenreModel
from zoo.runners import KEY, About, Outputs
from zoo.runners_onnx import INPUT, OUTPUTS, evaluate, session

OPSET = 20
MOST_BYTES = 2**31  # of a file of protobuf
SCOPES = "pkg.torch.onnx.name_scopes"  # of a node: the modules that it is in
QUANTISED = {  # layers, and what they are with 8 bits
    "Conv": "ConvInteger",
    "LSTM": "DynamicQuantizeLSTM",
    "MatMul": "MatMulInteger",  # and Gemm, which becomes that
}


class OnnxDraft(Draft):
    """A graph of ONNX."""

    def __init__(self, proto: Any, shortest: int) -> None:
        self.proto, self.shortest = proto, shortest
        self._front_end = [node.name for node in proto.graph.node if _is_of_front_end(node)]
        for node in proto.graph.node:
            del node.metadata_props[:]  # names folders of this machine
        self._session = session(self.bytes(), "the exported graph", torch.get_num_threads())

    @classmethod
    def of(cls, model: GenreModel, any_length: bool) -> Self:
        """Convert a model. Raises what PyTorch's exporter raises."""
        _check_installed()
        with as_convolutions():
            program, shortest = capture(model, any_length)
        with exporting():
            converted = torch.onnx.export(
                program, (), dynamo=True, opset_version=OPSET, verbose=False
            )
        assert converted is not None
        _name(converted.model.graph)
        return cls(converted.model_proto, shortest)

    @property
    def kinds(self) -> str:
        """Which layers have weights of 8 bits, and how many of each."""
        counts = Counter(node.op_type for node in self.proto.graph.node)
        return ", ".join(f"{counts[q]} {name}" for name, q in QUANTISED.items() if counts[q])

    @property
    def size(self) -> int:
        """Bytes of the file, without what it says of itself."""
        return len(self.bytes())

    def bytes(self) -> bytes:
        """Return the file's content. Raises `InputError` for what is too large for one."""
        if self.proto.ByteSize() >= MOST_BYTES:
            raise InputError("a file of ONNX holds 2 GiB at most: take --format torch.")
        return self.proto.SerializeToString()

    def run(self, samples_BT: np.ndarray) -> Outputs:
        return evaluate(self._session, samples_BT)

    def write(self, file: Path, about: About) -> None:
        self.proto.metadata_props.add(key=KEY, value=about.dumps())
        file.write_bytes(self.bytes())

    def quantised(self) -> "OnnxDraft":
        """Return it with weights of 8 bits in all layers of `QUANTISED` but the front end's, whose
        inputs become 8 bits as well, scaled anew for each batch.

        Weights are unsigned: with signed ones onnxruntime takes four times as long.
        """
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as folder, runtime.silence():
            file = Path(folder) / "quantised.onnx"
            quantize_dynamic(
                self.proto,
                file,
                op_types_to_quantize=[*QUANTISED, "Gemm"],
                nodes_to_exclude=self._front_end,
                weight_type=QuantType.QUInt8,
                per_channel=True,
            )
            return OnnxDraft(_load(file), self.shortest)


def _load(file: Path) -> Any:
    import onnx

    return onnx.load(file)


def _is_of_front_end(node: Any) -> bool:
    scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    return any("model.frontend" in scope for scope in scopes)


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--format onnx needs {error.name}, which is not installed: "
            "pip install 'genre-zoo[onnx]'."
        ) from error


def _name(graph: Any) -> None:
    """Give input and outputs their names; a value inside that has one of them gets another."""
    named = dict(zip((*graph.inputs, *graph.outputs), (INPUT, *OUTPUTS), strict=True))
    for node in graph:
        for value in node.outputs:
            if value.name in named.values():
                value.name = f"{value.name}_inside"
    for value, name in named.items():
        value.name = name
