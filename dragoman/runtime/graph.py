"""A small builder of ONNX graphs; knows neither models nor ONNX Runtime.

Graphs are built node by node from weights, not traced from an example, so nothing in them depends on an example's shape.

How a weight is stored, and how a product with it is written, is decided here alone, by the graph's precision:
- float32: as it is;
- float16: stored in half the bytes, and made float32 when the graph is loaded;
- int8: whole numbers from -127 to 127 with one scale per output of a product, or per row of an embedding table. The other side of
  a product is quantised when it is known, with one scale *per row*: a row's result is then the same, bit for bit, whatever stands
  beside it (one scale per tensor, as in ONNX's DynamicQuantizeLinear, would make it depend on its neighbours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
"""Version of the operators; ONNX Runtime reads it from 1.18 on."""
IR_VERSION = 10
FLOAT, INT32, INT64, BOOL = (
    int(TensorProto.FLOAT),
    int(TensorProto.INT32),
    int(TensorProto.INT64),
    int(TensorProto.BOOL),
)
_CONTRIB = "com.microsoft"
_LEVELS: Final = 127
"""Whole numbers on either side of zero."""
_ZERO: Final = 128
"""What stands for zero on the quantised side of a product: ONNX Runtime is fast for unsigned numbers times signed ones."""

Array = NDArray[Any]
Shape = Sequence[str | int]
"""A name for every axis that varies, a number for every one that does not."""


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs; values are known by their names."""

    def __init__(self, name: str, *, precision: str = "float32") -> None:
        self.name = name
        self.precision = precision
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._given: dict[str, str] = {}
        """The names of outputs, and the values that they give."""

    def input(self, name: str, kind: int, shape: Shape) -> str:
        """Declare an input; returns its name."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, kind: int, shape: Shape) -> None:
        """Give a value out under `name`."""
        self._given[name] = value
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, value: Array) -> str:
        """A weight; asked for twice by the same name it stands in the graph once."""
        half = self.precision == "float16" and value.dtype == np.float32 and value.ndim > 1
        stored = f"{name}:half" if half else name
        if stored not in self._constants:
            value = np.ascontiguousarray(value.astype(np.float16) if half else value)
            self._constants[stored] = numpy_helper.from_array(value, stored)
            if half:
                self._nodes.append(helper.make_node("Cast", [stored], [name], name=name, to=FLOAT))
        return name

    def numbers(self, *values: int) -> str:
        """A vector of whole numbers, for shapes and axes."""
        return self.constant("numbers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def node(self, kind: str, *inputs: str, attributes: Mapping[str, Any] | None = None) -> str:
        """Add a node with one output; returns its name. An empty name stands for an input that is left out."""
        return self.nodes(kind, *inputs, outputs=1, attributes=attributes)[0]

    def nodes(self, kind: str, *inputs: str, outputs: int, attributes: Mapping[str, Any] | None = None) -> list[str]:
        """Add a node with several outputs."""
        name = f"{self.name}.{kind}_{len(self._nodes)}"
        names = [f"{name}:{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **(attributes or {})))
        return names

    def _contrib(self, kind: str, *inputs: str) -> str:
        """An operator of ONNX Runtime's own."""
        name = f"{self.name}.{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name=name, domain=_CONTRIB))
        return f"{name}:0"

    def scan(self, body: GraphBuilder, states: Sequence[str], sequences: Sequence[str]) -> list[str]:
        """Run `body` along the first axis of `sequences`; its inputs and outputs are the states first, then what is per step.

        Returns the last states, then the outputs of every step, along a new first axis.
        """
        kept = len(body._outputs)
        attributes = {"body": body._graph(), "num_scan_inputs": len(sequences)}
        return self.nodes("Scan", *states, *sequences, outputs=kept, attributes=attributes)

    def linear(
        self,
        inputs: str,
        name: str,
        weight: Array,
        bias: Array | None,
        *,
        axes: int = 2,
        bounded: bool = False,
        table: str | None = None,
        chosen: str | None = None,
    ) -> str:
        """The product `inputs` @ weightᵀ + bias; `weight` is (outputs, inputs), as torch stores it.

        `inputs` is (..., inputs) and has so many `axes`. `bounded` says that they lie between -1 and 1. `table` names an
        embedding table that the weight is too, so that it stands in the graph once. `chosen`, (n,), are the outputs that are
        computed, all without it.
        """

        def rows(value: str) -> str:
            return self.node("Gather", value, chosen) if chosen and value else value

        stored = table or f"{name}.weight"
        added = rows("" if bias is None else self.constant(f"{name}.bias", bias))
        if self.precision == "int8":
            whole, scales = map(rows, self._quantised(stored, weight))
            return self._quantised_product(inputs, (whole, scales), added, bounded=bounded)
        if axes == 2:
            return self.node("Gemm", inputs, rows(self.constant(stored, weight)), added, attributes={"transB": 1})
        whole = self.node("Transpose", self.constant(stored, weight), attributes={"perm": [1, 0]})
        product = self.node("MatMul", inputs, whole)
        return self.node("Add", product, added) if added else product

    def _quantised_product(self, inputs: str, weight: tuple[str, str], bias: str, *, bounded: bool) -> str:
        stored, scales = weight
        turned = self.node("Transpose", stored, attributes={"perm": [1, 0]})  # of a whole weight once, on loading
        zero = self.constant("int8.zero", np.array(_ZERO, np.uint8))
        per_level = self.constant("int8.per_level", np.array(1 / _LEVELS, np.float32))
        if bounded:
            numbers = self.node("QuantizeLinear", inputs, per_level, zero)
            return self._contrib("MatMulIntegerToFloat", numbers, turned, per_level, scales, zero, "", bias)
        # Where all is zero, nothing is divided by nothing; whatever whole numbers that makes, times nothing they are nothing.
        largest = self.node("ReduceMax", self.node("Abs", inputs), self.numbers(-1))
        numbers = self.node("QuantizeLinear", self.node("Div", inputs, largest), per_level, zero)
        product = self._contrib("MatMulIntegerToFloat", numbers, turned, per_level, scales, zero)
        product = self.node("Mul", product, largest)
        return self.node("Add", product, bias) if bias else product

    def _quantised(self, name: str, weight: Array) -> tuple[str, str]:
        """A weight as whole numbers, (rows, columns), and the scale of each row, (rows,).

        x86 processors without VNNI add the products of two neighbouring columns in 16 bits: 255 * (one + other), which is not
        right any more if one + other is beyond 128 on either side of zero. A row's scale is as large as that asks for, so that
        all processors give the same sums. (It is about a third larger than without; half a level each is for rounding.)
        """
        width = weight.shape[1] // 2 * 2
        pairs = np.abs(weight[:, 0:width:2] + weight[:, 1:width:2]).max(axis=1, initial=0.0)
        scales = np.maximum(np.maximum(np.abs(weight).max(axis=1), pairs), 1e-12) / _LEVELS
        whole = np.rint(weight / scales[:, None]).astype(np.int8)
        return self.constant(name, whole), self.constant(f"{name}.scales", scales.astype(np.float32))

    def rows(self, name: str, table: Array, ids: str, *, axes: int = 1) -> str:
        """Rows of an embedding table, (words, width), for ids of so many axes: (...) -> (..., width)."""
        if self.precision != "int8":
            return self.node("Gather", self.constant(name, table), ids)
        stored, scales = self._quantised(name, table)
        if axes == 1:
            whole, scale = self.node("Gather", stored, ids), self.node("Gather", scales, ids)
            return self.node("DequantizeLinear", whole, scale, attributes={"axis": 0})
        whole = self.node("Cast", self.node("Gather", stored, ids), attributes={"to": FLOAT})
        return self.node("Mul", whole, self.node("Unsqueeze", self.node("Gather", scales, ids), self.numbers(-1)))

    def joined(self, parts: Sequence[str], *, axis: int = -1) -> str:
        """Parts side by side along an axis."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, attributes={"axis": axis})

    def _graph(self) -> onnx.GraphProto:
        # The node that makes an output gives it the output's name, which saves a copy in every run.
        made = {value for node in self._nodes for value in node.output}
        renamed: dict[str, str] = {}
        copies = []
        for name, value in self._given.items():
            if value in made and value not in renamed:
                renamed[value] = name
            else:
                copies.append(helper.make_node("Identity", [renamed.get(value, value)], [name], name=name))
        for node in self._nodes:
            node.input[:] = [renamed.get(value, value) for value in node.input]
            node.output[:] = [renamed.get(value, value) for value in node.output]
        return helper.make_graph(
            [*self._nodes, *copies], self.name, self._inputs, self._outputs, initializer=list(self._constants.values())
        )

    def build(self) -> bytes:
        """The finished graph, checked, as the bytes of an `.onnx` file."""
        graph = self._graph()
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="dragoman", ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
