"""A small builder of ONNX graphs; knows neither models nor ONNX Runtime.

Graphs are built node by node from weights, not traced from an example, so nothing in them depends on an example's shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
"""Version of the operators; ONNX Runtime reads it from 1.18 on."""
IR_VERSION = 10
FLOAT, INT32, INT64 = int(TensorProto.FLOAT), int(TensorProto.INT32), int(TensorProto.INT64)

Array = NDArray[Any]
Shape = Sequence[str | int]
"""A name for every axis that varies, a number for every one that does not."""


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs; values are known by their names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: Shape) -> str:
        """Declare an input; returns its name."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, kind: int, shape: Shape) -> None:
        """Give a value out under `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, value: Array) -> str:
        """A weight; asked for twice by the same name it stands in the graph once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def numbers(self, *values: int) -> str:
        """A vector of whole numbers, for shapes and axes."""
        return self.constant("numbers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def node(self, kind: str, *inputs: str, attributes: Mapping[str, Any] | None = None) -> str:
        """Add a node with one output; returns its name. An empty name stands for an input that is left out."""
        return self.nodes(kind, *inputs, outputs=1, attributes=attributes)[0]

    def nodes(self, kind: str, *inputs: str, outputs: int, attributes: Mapping[str, Any] | None = None) -> list[str]:
        """Add a node with several outputs."""
        name = f"{kind}_{len(self._nodes)}"
        names = [f"{name}:{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **(attributes or {})))
        return names

    def linear(self, inputs: str, name: str, weight: Array, bias: Array | None) -> str:
        """The product `inputs` @ weightᵀ + bias over two axes; `weight` is (outputs, inputs), as torch stores it."""
        operands = [inputs, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            operands.append(self.constant(f"{name}.bias", bias))
        return self.node("Gemm", *operands, attributes={"transB": 1})

    def joined(self, parts: Sequence[str]) -> str:
        """Parts side by side along the last axis."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, attributes={"axis": -1})

    def build(self) -> bytes:
        """The finished graph, checked, as the bytes of an `.onnx` file."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, initializer=list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="dragoman", ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
