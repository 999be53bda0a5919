"""Runs converters, quantizers and runtimes in processes of their own: they import gigabytes and may abort."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekd import child, registry, store
from edgekd.errors import ExportError
from edgekd.inspection import Anatomy
from edgekd.records import LayerParity, QuantizationPlan
from edgekd.stages.export.calibrating import Samples, match, watch_all
from edgekd.stages.export.parting import compare_layers
from edgekd.stages.export.placing import Places, place
from edgekd.stages.export.watching import Tensors, batch_size, dequantized, exact_session, input_of, quantized, watch
from edgekd.stats import Stream

if TYPE_CHECKING:
    from torch import nn

R = TypeVar("R")

_BATCH = 256


def pack(student: nn.Module) -> tuple[nn.Module, bytes]:
    """Copy a student to the CPU in evaluation mode, and turn the copy into bytes for a child.

    Classes of a script or notebook travel with it.

    Raises:
        ExportError: It holds something that can't go to another process.
    """
    import cloudpickle

    try:
        network = copy.deepcopy(student).cpu().eval()
        return network, bytes(cloudpickle.dumps(network))
    except (pickle.PicklingError, TypeError, AttributeError, RuntimeError) as error:
        raise ExportError(
            f"the student can't be sent to the converter: {error}",
            next_step="keep open files, threads and the like out of the network",
        ) from None


def tools_of(format_name: str, precision: str, converters: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """Name the tools that decide a file's bytes, with their versions.

    Args:
        format_name: Of the file.
        precision: Of the file.
        converters: By format, what made the float file; `None` for edgekd's own exporters.

    >>> tools_of("onnx", "fp32", {"onnx": ("numpy",)}).split()[0]
    'numpy'
    """
    if converters is None:
        converters = {format_name: getattr(registry.load("exporters", format_name), "TOOLS", ())}
    quantizers = () if precision == "fp32" else getattr(registry.load("quantizers", format_name), "TOOLS", ())
    tools = (*converters.get(format_name, ()), *quantizers)
    return ", ".join(f"{tool} {version}" for tool, version in store.tool_versions(*tools).items())


def convert(
    format_name: str, network: bytes, example: NDArray[np.float32], path: Path, *, any_length: bool = False
) -> None:
    """Write the float32 file that the quantizers start from.

    Args:
        format_name: An exporter.
        network: From `pack`.
        example: One input, shape (1, …).
        path: Where to.
        any_length: Whether the file takes texts of any length; of ONNX.

    Raises:
        ExportError: The converter failed; with its last lines.
    """
    options = {"any_length": True} if any_length else {}
    _in_child(f"the {format_name} converter", path, _convert, format_name, network, example, path, options)


def prepare(format_name: str, source: Path, path: Path) -> None:
    """Write the float file that is calibrated and quantized, where a format has another than the one it ships.

    Raises:
        ExportError: It failed; with its last lines.
    """
    _in_child(f"the {format_name} optimizer", source, registry.load("quantizers", format_name).prepare, source, path)


def calibrate(sources: Mapping[str, Path], samples: Samples) -> dict[str, dict[str, Stream]]:
    """Give the statistics of every activation, by format and name, in one child.

    Raises:
        ExportError: A file can't run, or gives what is not finite.
    """
    return _in_child("the calibration", next(iter(sources.values())), watch_all, sources, samples)


def find_places(
    format_name: str, path: Path, *, weights: Tensors, activations: Tensors, probes: NDArray[np.float32]
) -> Places:
    """Find a torch network's layers and activations in a float file, in one child.

    Args:
        format_name: `onnx` or `tflite`.
        path: The float file.
        weights: By torch module.
        activations: By operator of the network, of the probes.
        probes: Some inputs, channels first, (N, …).

    Raises:
        ExportError: The file can't run.
    """
    return _in_child(f"the {format_name} runtime", path, place, format_name, path, weights, activations, probes)


def recognise(format_name: str, path: Path, known: Tensors, inputs: NDArray[np.float32]) -> dict[str, str | None]:
    """Find out, in a child, which known activation each one of a float file is.

    Args:
        format_name: `onnx` or `tflite`.
        path: The float file.
        known: By name, what they hold for `inputs`.
        inputs: A few samples, (N, ...).

    Raises:
        ExportError: The file can't run.
    """
    return _in_child(f"the {format_name} runtime", path, _recognise, format_name, path, known, inputs)


def _recognise(format_name: str, path: Path, known: Tensors, inputs: NDArray[np.float32]) -> dict[str, str | None]:
    return match(known, watch(format_name, path).run(inputs))


def quantize(format_name: str, plans: Sequence[tuple[Path, QuantizationPlan, Path]]) -> None:
    """Write the files of a format, one for each precision, in one child.

    Args:
        format_name: A quantizer.
        plans: For each file its source, from `convert` or `prepare`, what becomes of it, and where to.

    Raises:
        ExportError: The quantizer failed; with its last lines.
    """
    _in_child(f"the {format_name} quantizer", plans[0][0], _quantize, format_name, plans)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file, its precision, and the float file that it was made from."""

    path: Path
    precision: str
    source: Path


@dataclass(frozen=True, kw_only=True)
class Read:
    """What is in a file and what it gives.

    Attributes:
        anatomy: Of the file.
        outputs: Of the inputs, shape (N, outputs), dequantized.
        layers: How they differ from the float file's.
    """

    anatomy: Anatomy
    outputs: NDArray[np.float32]
    layers: tuple[LayerParity, ...]


def read_and_run(format_name: str, files: Sequence[Written], inputs: NDArray[np.float32]) -> list[Read]:
    """Read files and run them on inputs, in one child.

    Args:
        format_name: `onnx` or `tflite`.
        files: Of the format.
        inputs: Channels first, shape (N, …); quantized and transposed as each file wants.

    Raises:
        ExportError: The runtime can't load or run a file.
    """
    return _in_child(f"the {format_name} runtime", files[0].path, _read_and_run, format_name, files, inputs)


def run_file(format_name: str, path: Path, inputs: NDArray[np.float32]) -> tuple[Anatomy, NDArray[np.float32]]:
    """Read one file, wherever it comes from, and run it on inputs, in one child.

    Args:
        format_name: `onnx` or `tflite`.
        path: Of one input.
        inputs: Channels first, shape (N, …).

    Returns:
        What is in it, and its outputs, (N, outputs), dequantized.

    Raises:
        ExportError: The runtime can't load or run it.
    """
    return _in_child(f"the {format_name} runtime", path, _run_file, format_name, path, inputs)


def _run_file(format_name: str, path: Path, inputs: NDArray[np.float32]) -> tuple[Anatomy, NDArray[np.float32]]:
    run = {"onnx": _run_onnx, "tflite": _run_tflite}[format_name]
    return registry.function("formats", format_name)(path), _flat(run(path, inputs))


def _in_child(what: str, path: Path, function: Callable[..., R], *args: Any) -> R:
    try:
        return child.call(what, function, *args)
    except child.ChildCrashError as error:
        raise ExportError(error.what, where=path.name) from None


def _convert(
    format_name: str, network: bytes, example: NDArray[np.float32], path: Path, options: Mapping[str, bool]
) -> None:
    # The user's own modules lie in the working folder, which is the parent's too.
    sys.path.append(str(Path.cwd()))
    import cloudpickle

    export = registry.function("exporters", format_name)
    export(network=cloudpickle.loads(network), example=example, path=path, **options)


def _quantize(format_name: str, plans: Sequence[tuple[Path, QuantizationPlan, Path]]) -> None:
    for source, plan, path in plans:
        registry.function("quantizers", format_name)(source=source, plan=plan, path=path)


def _read_and_run(format_name: str, files: Sequence[Written], inputs: NDArray[np.float32]) -> list[Read]:
    run, read = {"onnx": _run_onnx, "tflite": _run_tflite}[format_name], registry.function("formats", format_name)
    layers: dict[Path, tuple[LayerParity, ...]] = {}
    for source in dict.fromkeys(file.source for file in files):
        made = {file.path: file.precision for file in files if file.source == source}
        layers |= dict(zip(made, compare_layers(format_name, source, made, inputs), strict=True))
    return [
        Read(anatomy=read(file.path), outputs=_flat(run(file.path, inputs)), layers=layers[file.path]) for file in files
    ]


def _flat(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return outputs.reshape(len(outputs), -1)


def _run_onnx(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnx

    model = onnx.load(str(path))
    session, (name, dtype) = exact_session(model), input_of(model)
    inputs = inputs.astype(dtype, copy=False)
    size = batch_size(session, _BATCH)
    batches = [
        np.asarray(session.run(None, {name: inputs[start : start + size]})[0]) for start in range(0, len(inputs), size)
    ]
    return np.concatenate(batches).astype(np.float32)


def _run_tflite(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if inputs.ndim == 4:
        inputs = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(taken["index"], quantized(sample[None], taken))
        interpreter.invoke()
        outputs.append(dequantized(interpreter.get_tensor(given["index"]), given)[0])
    return np.stack(outputs)
