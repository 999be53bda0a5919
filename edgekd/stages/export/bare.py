"""Quantizes, checks and compares a model file of the user's own, without any training."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import inspection
from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.inspection import Anatomy
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Task
from edgekd.stages.export.auditing import portray, warn_of_noise
from edgekd.stages.export.causal import export_causal_file, is_causal
from edgekd.stages.export.converting import run_file
from edgekd.stages.export.making import Chosen, Exported, Job, is_static, prepared_source
from edgekd.stages.export.requirements import check_calibration, check_inputs, check_spec, check_tokens
from edgekd.store import sha256_of

_log = logging.getLogger("edgekd")
_CHECK_SAMPLES = 500
_CHANNELS_FIRST = (0, 3, 1, 2)
_FLOW = {"WHILE", "IF", "CALL_ONCE", "STABLEHLO_WHILE", "Loop", "If", "Scan"}
_OF_TOKENS = ("int32", "int64")
_UNROLL = "unroll loops and choose branches where the file is made"


def export_file(
    path: Path,
    *,
    samples: NDArray[np.float32],
    folder: Path,
    spec: ExportSpec,
    task: Task = "single_label",
    progress: Progress | None = None,
) -> Exported:
    """Write a float32 .onnx or .tflite file in other precisions, each held against the file itself.

    Args:
        path: With one input, float32 or whole numbers (tokens), and one output, float32; or a causal language model's,
            with keys and values.
        samples: As the file takes them, (N, …): some calibrate, the others (all where there are none) check.
        folder: Made when missing; files are called as this one, with the precision.
        spec: Precisions; its formats are replaced by the file's own.
        task: What the file predicts, which decides what it means that another predicts the same.
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the file.

    Raises:
        ModelError: Not a model, or quantized already, or of several inputs or outputs.
        DataError: Samples of another shape, or from which no ranges can be learnt.
        ConfigError: A precision that the format does not have.
        ExportError: A file can't be quantized, or is not what it claims.
    """
    anatomy = inspection.inspect(path)
    if is_causal(anatomy):
        refuse_corrections(spec)
        return export_causal_file(path, samples=samples, folder=folder, spec=spec, progress=progress)
    check_ends(anatomy, path)
    check_flow(anatomy, path)
    refuse_corrections(spec)
    spec = replace(spec, formats=(anatomy.format,))
    if anatomy.format == "onnx" and spec.io not in (None, "float32"):
        raise ConfigError(f"io = {spec.io}", where=str(path), allowed="float32: QDQ files take nothing else")
    check_spec(spec, path.stem)
    inputs = _as_network_inputs(samples, anatomy)
    check_inputs("calibration", inputs)
    tokens = anatomy.inputs[0].dtype in _OF_TOKENS
    if tokens:
        check_tokens("calibration", inputs)
    chosen, check = divide(inputs, spec, tokens=tokens)
    _, outputs = run_file(anatomy.format, path, check)
    job = Job(
        name=path.stem,
        spec=spec,
        check=check,
        outputs=outputs,
        task=task,
        parent_sha256=sha256_of(path),
        converters={},
    )
    job.clear(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        # Under a name of its own: an asked for file may be called as this one.
        plain = Path(partial) / f"float.{anatomy.format}"
        shutil.copyfile(path, plain)
        return job.run([prepared_source(anatomy.format, plain)], chosen if is_static(spec) else None, folder, progress)


def refuse_corrections(spec: ExportSpec) -> None:
    """Refuse what only a student in torch can have.

    Raises:
        ConfigError: It asks for corrections or mixed precision.
    """
    if spec.corrections:
        raise ConfigError(
            "corrections of a model file", where="export", next_step="leave them out: they need the torch student"
        )
    if spec.mixed:
        raise ConfigError(
            "mixed precision of a model file", where="export", next_step="leave it out: it needs the torch student"
        )


def divide(
    inputs: NDArray[np.float32], spec: ExportSpec, *, tokens: bool = False
) -> tuple[Chosen, NDArray[np.float32]]:
    """Draw the samples that calibrate; the others check, or the same ones where there are no others.

    Args:
        inputs: (N, …).
        spec: How many calibrate.
        tokens: Whether they are texts.

    Raises:
        DataError: Samples from which no ranges can be learnt, where ranges are asked for.
    """
    chosen = Chosen(inputs, spec.calibration)
    others = np.setdiff1d(np.arange(len(inputs)), chosen.numbers)
    check = inputs[others if len(others) else chosen.numbers][:_CHECK_SAMPLES]
    if not len(others):
        _log.warning("export: the same %d samples calibrate and check: give more than --samples", len(inputs))
    if is_static(spec):
        check_calibration(chosen, check, tokens=tokens)
        if inputs.ndim == len(_CHANNELS_FIRST):
            warn_of_noise(portray(chosen))
    return chosen, check


def check_flow(anatomy: Anatomy, path: Path, *, next_step: str = _UNROLL) -> None:
    """Refuse a file with loops or branches: ranges of what happens in them can't be watched.

    Raises:
        ModelError: Names the operator, and the layer that made it.

    >>> from edgekd.inspection import Node
    >>> body, loop = Node(name="step", operator="ADD", graph=1), Node(name="rnn/while", operator="WHILE")
    >>> nothing = dict(inputs=(), outputs=(), operators=(), dtypes=(), layers=(), parameters=0, macs=0, size_bytes=0)
    >>> anatomy = Anatomy(format="tflite", layout="flat", nodes=(loop, body), **nothing)
    >>> check_flow(anatomy, Path("a.tflite"))
    Traceback (most recent call last):
        ...
    edgekd.errors.ModelError: a.tflite: control flow: WHILE of 'rnn/while'; ...
    """
    if not any(node.graph for node in anatomy.nodes):
        return
    loops = [f"{node.operator} of '{node.name}'" for node in anatomy.nodes if not node.graph and node.operator in _FLOW]
    raise ModelError(
        f"control flow: {', '.join(loops) or 'several graphs'}",
        where=str(path),
        allowed="operators in one order",
        next_step=next_step,
    )


def check_ends(anatomy: Anatomy, path: Path) -> None:
    """Refuse several inputs or outputs, and what is quantized already.

    Raises:
        ModelError: Names them.
    """
    for what, ends in (("input", anatomy.inputs), ("output", anatomy.outputs)):
        if len(ends) != 1:
            names = ", ".join(f"'{end.name}'" for end in ends)
            raise ModelError(f"{len(ends)} {what}s: {names}", where=str(path), allowed=f"one {what}")
        is_tokens = what == "input" and ends[0].dtype in _OF_TOKENS and len(ends[0].shape) == 2
        if ends[0].dtype != "float32" and not is_tokens:
            raise ModelError(
                f"{what} '{ends[0].name}' is {ends[0].dtype}",
                where=str(path),
                allowed="float32, or int32 or int64 tokens (N, T)" if what == "input" else "float32",
                next_step="give the float file that this one was made from",
            )
    quantized = sorted({layer.weight_dtype for layer in anatomy.layers if layer.weight_dtype} - {"float32"})
    if quantized:
        raise ModelError(
            f"its weights are {', '.join(quantized)} already",
            where=str(path),
            allowed="float32",
            next_step="give the float file that this one was made from",
        )


def _as_network_inputs(samples: NDArray[np.float32], anatomy: Anatomy) -> NDArray[np.float32]:
    """Check samples against the file's input, and put channels first where the file has them last."""
    expected = anatomy.inputs[0].shape
    matches = samples.ndim == len(expected) and all(
        size is None or size == given for size, given in zip(expected[1:], samples.shape[1:], strict=True)
    )
    if not matches:
        wanted = ", ".join(["N", *("any" if size is None else str(size) for size in expected[1:])])
        raise DataError(
            f"samples have shape {samples.shape}", where="calibration", allowed=f"({wanted}), as the file takes them"
        )
    ready = samples.astype(np.float32, copy=False)
    if anatomy.format == "tflite" and ready.ndim == len(_CHANNELS_FIRST):
        ready = np.ascontiguousarray(ready.transpose(_CHANNELS_FIRST))
    return ready
