"""Writes LeNet-5 and its weights as an ONNX file of sixteen nodes.

The names follow the Hub's conventions for image classifiers: the input ``pixel_values``, the output
``logits``, the axis ``batch_size``. Neither writing nor running the file needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenet_digits.reading.network import Floats

ONNX_FILE = "onnx/model.onnx"  # the Hub's libraries look for it there, in a folder of weights
OPSET, IR_VERSION = 13, 7  # of ONNX 1.8, November 2020: programs since then can read the file


def onnx_of(weights: Mapping[str, Floats], *, sees_nondigits: bool = False) -> bytes:
    """The content of an ONNX file of LeNet-5, from its tensors by their names in a state dict.

    The graph takes ``pixel_values``: canvases (N, 1, 28, 28), float32 in [0, 1], ink 1 on
    background 0. Its outputs are float32:

    - ``logits``, (N, 10).
    - ``probabilities``, (N, 10), of the digits 0 to 9.
    - ``outlier_score``, (N,), 0 or more; above 1 the canvas is not a digit. The file has this
      output only if `sees_nondigits` says that the weights also learned what is not a digit.

    The same weights give the same bytes.

    Raises ModuleNotFoundError where the package ``onnx`` is not installed.
    """
    from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

    def value(name: str, *shape: int, text: str = "") -> ValueInfoProto:
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch_size", *shape], doc_string=text
        )

    node = helper.make_node
    quad: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", ["pixel_values", "c1.weight", "c1.bias"], ["c1.sum"], pads=[2, 2, 2, 2]),
        node("Tanh", ["c1.sum"], ["c1"]),  # (N, 6, 28, 28)
        node("AveragePool", ["c1"], ["s2"], **quad),  # (N, 6, 14, 14)
        node("Conv", ["s2", "c3.weight", "c3.bias"], ["c3.sum"]),
        node("Tanh", ["c3.sum"], ["c3"]),  # (N, 16, 10, 10)
        node("AveragePool", ["c3"], ["s4"], **quad),  # (N, 16, 5, 5)
        node("Conv", ["s4", "c5.weight", "c5.bias"], ["c5.sum"]),
        node("Tanh", ["c5.sum"], ["c5.map"]),  # (N, 120, 1, 1)
        node("Flatten", ["c5.map"], ["c5"]),  # (N, 120)
        node("Gemm", ["c5", "f6.weight", "f6.bias"], ["f6.sum"], transB=1),
        node("Tanh", ["f6.sum"], ["f6"]),  # (N, 84)
        node("Gemm", ["f6", "output.weight", "output.bias"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [value("logits", 10), value("probabilities", 10)]
    if sees_nondigits:
        # "Not a digit" is an eleventh class, whose logit is always 0. So the odds against a digit
        # are exp(0) / sum(exp(logits)).
        nodes += [
            node("ReduceLogSumExp", ["logits"], ["log_odds_for"], axes=[1], keepdims=0),
            node("Neg", ["log_odds_for"], ["log_odds_against"]),
            node("Exp", ["log_odds_against"], ["outlier_score"]),
        ]
        outputs.append(value("outlier_score"))
    graph = helper.make_graph(
        nodes,
        "LeNet-5",
        [value("pixel_values", 1, 28, 28, text="canvases: ink 1 on 0, framed as MNIST's digits")],
        outputs,
        [numpy_helper.from_array(tensor, name) for name, tensor in sorted(weights.items())],
    )
    model = helper.make_model(
        graph,
        producer_name="lenet-digits",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    return bytes(model.SerializeToString(deterministic=True))
