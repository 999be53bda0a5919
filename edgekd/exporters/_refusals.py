"""Says what of a network a converter refuses: an operator with its layer, or a line that decides by values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor, nn

# As torch's ONNX exporter and litert-torch put it.
_LACKS = re.compile(r"(?:No ONNX function found for <OpOverload\(op='\w+|Lowering not found: \w+)\.(\w+)")
_DECIDES = re.compile(r'data-dependent.*File "([^"]+)", line (\d+), in \w+\n\s*([^\n]+)', re.DOTALL)


@contextlib.contextmanager
def explained(path: Path, network: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Name what a converter stumbles over within the block; other failures pass as they are.

    Args:
        path: Of the file that is written.
        network: What is converted.
        inputs: An example.

    Raises:
        ExportError: The format lacks an operator, or what the network computes depends on values.

    >>> import torch
    >>> with explained(Path("student.tflite"), torch.nn.Linear(2, 2), torch.zeros(1, 2)):
    ...     raise RuntimeError("Lowering not found: aten.linear.default")
    Traceback (most recent call last):
        ...
    edgekd.errors.ExportError: student.tflite: the converter lacks torch's 'linear', which the network uses in ...
    """
    import torch

    try:
        yield
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        if found := _LACKS.search(str(error)):
            raise ExportError(
                f"the converter lacks torch's '{found[1]}'{_use(found[1], network, inputs)}",
                where=path.name,
                next_step="replace it in the network, or export to another format",
            ) from None
        if found := _DECIDES.search(str(error)):
            file, line, code = found.groups()
            raise ExportError(
                f"what the network computes depends on values, in line {line} of {Path(file).name}: '{code}'",
                where=path.name,
                allowed="the same operations for all inputs",
                next_step="use torch.where instead of if",
            ) from None
        raise


def _use(operator: str, network: nn.Module, inputs: Tensor) -> str:
    """Say which layer calls an operator, and in which line of code."""
    import torch

    for node in torch.export.export(network, (inputs,)).graph.nodes:
        # A name may have got a prefix (`special_`) or lost one on the converter's way.
        if node.op == "call_function" and operator in str(node.target):
            paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]
            code = (node.stack_trace or "").strip().splitlines()[-1:]
            line = f" in '{code[0].strip()}'" if code else ""
            return f", which {repr(paths[-1]) if paths else 'the network'} uses{line}"
    return ""
