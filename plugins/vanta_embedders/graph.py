"""The ONNX graph of all-MiniLM-L6-v2: word pieces in, vectors of length 1 out.

The graph contains only the names of the weights: onnxruntime gets the mapped file's memory. The
linear layers process all word pieces of a batch in one matrix. The fused operators (onnxruntime's,
domain com.microsoft) are those that its optimiser would produce, so the optimiser need not run.
Invariant: a change of a vector, an input or an output changes `model_files.REVISION`.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from vanta_embedders.model_files import (
    EPSILON,
    HEADS,
    LAYERS,
    MASK,
    PIECES,
    VECTORS,
    WIDTH,
    layer_prefix,
    tensor_shapes,
)

_FUSED = "com.microsoft"
_OPSETS = {"": 17, _FUSED: 1}
_IR = 9
_CONSTANTS = {"zero": [0], "one": [1], "last": [-1], "flat": [-1, WIDTH], "width": [WIDTH]}


def build() -> bytes:
    """Return the graph as a serialised model."""
    nodes = [*_input_nodes()]
    for number in range(LAYERS):
        nodes += [*_attention(number), *_feed_forward(number)]
    nodes += _output_nodes()
    texts = ["texts", "pieces"]
    graph = helper.make_graph(
        nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info(PIECES, TensorProto.INT64, texts),
            helper.make_tensor_value_info(MASK, TensorProto.INT32, texts),
        ],
        [helper.make_tensor_value_info(VECTORS, TensorProto.FLOAT, ["texts", WIDTH])],
        [*_weights(), *_constants()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    return bytes(model.SerializeToString())


def _input_nodes() -> list[onnx.NodeProto]:
    """Add the embeddings of words, positions and the first sentence type, and normalise."""
    at = "embeddings."
    return [
        _node("Gather", [f"{at}word_embeddings.weight", PIECES], "words"),
        _node("Shape", [PIECES], "size"),
        _node("Shape", [PIECES], "longest", start=1),
        _node("Concat", ["size", "width"], "blocks", axis=0),
        _node("Slice", [f"{at}position_embeddings.weight", "zero", "longest"], "positions"),
        _node("Slice", [f"{at}token_type_embeddings.weight", "zero", "one"], "type"),
        _node("Add", ["positions", "type"], "typed"),
        _node("Add", ["words", "typed"], "sum"),
        _node(
            "LayerNormalization",
            ["sum", f"{at}LayerNorm.weight", f"{at}LayerNorm.bias"],
            "embedded",
            epsilon=EPSILON,
        ),
        _node("Reshape", ["embedded", "flat"], _state(0)),
    ]


def _attention(number: int) -> list[onnx.NodeProto]:
    at, into = f"{layer_prefix(number)}attention.", _state(number)
    nodes, blocks = [], []
    for part in ("query", "key", "value"):
        name = f"{at}self.{part}"
        blocks.append(f"{name}.blocks")
        nodes += [
            _node("Gemm", [into, f"{name}.weight", f"{name}.bias"], f"{name}.flat", transB=1),
            _node("Reshape", [f"{name}.flat", "blocks"], blocks[-1]),
        ]
    heads = f"{at}heads"
    return [
        *nodes,
        _fused("MultiHeadAttention", [*blocks, "", MASK], heads, num_heads=HEADS),
        _node("Reshape", [heads, "flat"], f"{heads}.flat"),
        *_residual(f"{at}output.", f"{heads}.flat", into, f"{at}out"),
    ]


def _feed_forward(number: int) -> list[onnx.NodeProto]:
    at = layer_prefix(number)
    wide = f"{at}intermediate.dense"
    return [
        _node("Gemm", [f"{at}attention.out", f"{wide}.weight"], f"{wide}.out", transB=1),
        _fused("BiasGelu", [f"{wide}.out", f"{wide}.bias"], f"{wide}.gelu"),
        *_residual(f"{at}output.", f"{wide}.gelu", f"{at}attention.out", _state(number + 1)),
    ]


def _residual(at: str, inner: str, skipped: str, out: str) -> list[onnx.NodeProto]:
    """Add the result of a linear layer to the skipped input, and normalise."""
    norm = [f"{at}LayerNorm.weight", f"{at}LayerNorm.bias", f"{at}dense.bias"]
    return [
        _node("Gemm", [inner, f"{at}dense.weight"], f"{at}dense.out", transB=1),
        _fused("SkipLayerNormalization", [f"{at}dense.out", skipped, *norm], out, epsilon=EPSILON),
    ]


def _output_nodes() -> list[onnx.NodeProto]:
    """Sum over a text's pieces and scale to length 1; the mean would give the same."""
    return [
        _node("Reshape", [_state(LAYERS), "blocks"], "states"),
        _node("Unsqueeze", [MASK, "last"], "column"),
        _node("Cast", ["column"], "weights", to=TensorProto.FLOAT),
        _node("Mul", ["states", "weights"], "masked"),
        _node("ReduceSum", ["masked", "one"], "pooled", keepdims=0),
        _node("LpNormalization", ["pooled"], VECTORS, axis=-1, p=2),
    ]


def _state(number: int) -> str:
    """Return the name of a layer's input, one row per word piece."""
    return f"state.{number}"


def _node(operator: str, into: list[str], out: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, into, [out], **attributes)


def _fused(operator: str, into: list[str], out: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, into, [out], domain=_FUSED, **attributes)


def _weights() -> list[onnx.TensorProto]:
    tensors = []
    for name, shape in tensor_shapes().items():
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        tensor.external_data.add(key="location", value="given in memory")
        tensors.append(tensor)
    return tensors


def _constants() -> list[onnx.TensorProto]:
    return [
        helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        for name, values in _CONSTANTS.items()
    ]
