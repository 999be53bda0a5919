"""Runs model files as they lie: for test vectors, and to prove that copies predict what the original predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import child
from edgekd.errors import ExportError
from edgekd.records import Cargo, Model, TensorSpec, Vectors

Runtime = Literal["onnxruntime", "litert", "tflite_micro"]
Arrays = tuple[NDArray[Any], ...]

_RUNTIME_OF: dict[str, Runtime] = {"onnx": "onnxruntime", "ort": "onnxruntime", "tflite": "litert"}
# Kernels that round in another order are not other predictions: 20 dB, as the export checks files by.
_LARGEST_NOISE = 0.1
_ARENA_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A model file made from that of a cargo.

    Attributes:
        exact: Whether its outputs must be the very numbers; else the ratio of signal to difference must be 20 dB.
    """

    cargo: Cargo
    path: Path
    exact: bool


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A file to be run on each of N samples; one array (N, …) an input, as the file takes them."""

    path: Path
    runtime: Runtime
    inputs: Arrays


def make_vectors(files: Sequence[tuple[Model, NDArray[np.float32], bool]]) -> list[Vectors | None]:
    """Run files on samples, for tests that prove an integration.

    Args:
        files: Each with samples as the network takes them, in the file's layout, (N, …); and whether TFLite Micro runs
            it, whose outputs a chip then has to give.

    Returns:
        One each; none of a file with several inputs or outputs.

    Raises:
        ExportError: A runtime can't load or run a file.
    """
    runs = {
        index: _Run(
            path=model.path,
            runtime="tflite_micro" if micro else _RUNTIME_OF[model.format],
            inputs=(as_taken(samples, model.inputs[0]),),
        )
        for index, (model, samples, micro) in enumerate(files)
        if len(model.inputs) == len(model.outputs) == 1 and len(samples)
    }
    outputs = dict(zip(runs, _run(list(runs.values())), strict=True))
    return [
        Vectors(inputs=runs[index].inputs[0], outputs=outputs[index][0]) if index in runs else None
        for index in range(len(files))
    ]


def as_taken(samples: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Bring samples to the type of a file's input: q = round(x / scale) + zero_point, saturated.

    >>> spec = TensorSpec(name="x", shape=(1, 3), dtype="int8", scale=0.5, zero_point=-1)
    >>> as_taken(np.array([[0.0, 1.0, 99.0]], np.float32), spec).tolist()
    [[-1, 1, 127]]
    """
    if spec.scale is None:
        return samples.astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    whole = np.rint(samples.astype(np.float64) / spec.scale) + (spec.zero_point or 0)
    taken: NDArray[Any] = np.clip(whole, limits.min, limits.max).astype(spec.dtype)
    return taken


def prove(copies: Sequence[Copy]) -> None:
    """Run copies beside their originals, on the test vectors or else on noise.

    Raises:
        ExportError: A copy can't be run, or predicts otherwise.
    """
    runs = []
    for copy in copies:
        inputs = (copy.cargo.vectors.inputs,) if copy.cargo.vectors else noise_for(copy.cargo.model)
        runs += [
            _Run(path=path, runtime=_RUNTIME_OF[path.suffix.removeprefix(".")], inputs=inputs)
            for path in (copy.cargo.model.path, copy.path)
        ]
    outputs = _run(runs)
    for copy, originals, copied in zip(copies, outputs[::2], outputs[1::2], strict=True):
        for wanted, given in zip(originals, copied, strict=True):
            if _is_same(wanted, given, exact=copy.exact):
                continue
            off = np.abs(given.astype(np.float64) - wanted.astype(np.float64)).max()
            raise ExportError(
                f"its outputs are up to {off:g} off those of {copy.cargo.model.name}",
                where=copy.path.name,
                allowed="the same outputs" if copy.exact else "a difference of a tenth of the outputs (20 dB)",
                next_step="leave this packager out, and report it with the file",
            )


def _is_same(wanted: NDArray[Any], given: NDArray[Any], *, exact: bool) -> bool:
    if exact or wanted.shape != given.shape:
        return bool(np.array_equal(wanted, given, equal_nan=wanted.dtype.kind == "f"))
    one, two = wanted.astype(np.float64), given.astype(np.float64)
    return bool(np.linalg.norm(two - one) <= _LARGEST_NOISE * max(float(np.linalg.norm(one)), 1e-12))


def noise_for(model: Model, count: int = 2, seed: int = 0) -> Arrays:
    """Random inputs as a file takes them, an array (N, …) each; indices stay small, for they may look up a table.

    >>> model = Model(name="m", path=Path("m"), format="onnx", precision="fp32", role="student", sha256="",
    ...               size_bytes=0, inputs=(TensorSpec(name="x", shape=(None, 3), dtype="float32"),))
    >>> noise_for(model)[0].shape
    (2, 3)
    """
    random = np.random.default_rng(seed)
    arrays = []
    for spec in model.inputs:
        shape, dtype = (count, *(size or 1 for size in spec.shape[1:])), np.dtype(spec.dtype)
        if dtype.kind == "f":
            arrays.append(random.normal(size=shape).astype(dtype))
        elif dtype.itemsize == 1 and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            arrays.append(random.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True))
        else:
            arrays.append(random.integers(0, 2, size=shape).astype(dtype))
    return tuple(arrays)


def _run(runs: Sequence[_Run]) -> list[Arrays]:
    if not runs:
        return []
    try:
        return child.call("a runtime", _run_here, runs)
    except child.ChildCrashError as error:
        raise ExportError(error.what, where=", ".join(dict.fromkeys(run.path.name for run in runs))) from None


def _run_here(runs: Sequence[_Run]) -> list[Arrays]:
    run_with = {"onnxruntime": _run_onnx, "litert": _run_litert, "tflite_micro": _run_micro}
    return [run_with[run.runtime](run.path, run.inputs) for run in runs]


def _run_onnx(path: Path, inputs: Arrays) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    rows = [
        session.run(None, dict(zip(names, [np.ascontiguousarray(each[n : n + 1]) for each in inputs], strict=True)))
        for n in range(len(inputs[0]))
    ]
    return tuple(np.concatenate([np.asarray(row[k]) for row in rows]) for k in range(len(rows[0])))


def _run_litert(path: Path, inputs: Arrays) -> Arrays:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    # A copy may have inputs that only a library writes to, and that nothing in it reads.
    inputs = (
        *inputs,
        *(np.zeros((len(inputs[0]), *each["shape"][1:]), each["dtype"]) for each in taken[len(inputs) :]),
    )
    for n in range(len(inputs[0])):
        for each, array in zip(taken, inputs, strict=True):
            interpreter.set_tensor(each["index"], np.ascontiguousarray(array[n : n + 1]))
        interpreter.invoke()
        rows.append([interpreter.get_tensor(each["index"]) for each in given])
    return tuple(np.concatenate([row[k] for row in rows]) for k in range(len(given)))


def _run_micro(path: Path, inputs: Arrays) -> Arrays:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=_ARENA_BYTES)
    rows = []
    for n in range(len(inputs[0])):
        for index, array in enumerate(inputs):
            interpreter.set_input(np.ascontiguousarray(array[n : n + 1]), index)
        interpreter.invoke()
        rows.append([np.array(interpreter.get_output(0))])
    return (np.concatenate([row[0] for row in rows]),)
