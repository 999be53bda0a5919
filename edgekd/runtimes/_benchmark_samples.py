"""Runs samples through benchmark_model, a process for each, and brings back what they give."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd import store
from edgekd.errors import DataError, MeasurementError
from edgekd.formats.tflite import read
from edgekd.records import TensorSpec
from edgekd.runtimes._benchmark_program import Program
from edgekd.runtimes._machine import SECTION, STATE, ask, mask_of, read_sections

if TYPE_CHECKING:
    from edgekd.transports import Transport

_PATIENCE_S, _PATIENCE_PER_SAMPLE_S = 300.0, 10.0
# The tool only wants names that it is given to be the same in all flags; the file's own may hold what no flag can.
_NAME = "input"
_FLAGS: Mapping[str, object] = {"warmup_runs": 0, "warmup_min_secs": 0, "num_runs": 1, "min_secs": 0}
# One sample after the other, without the line in between. What the tool prints is kept from what is said here: names of
# tensors, which may be anything, are in it.
_EACH = r"""
inputs=$1 bytes=$2 count=$3 mask=$4; shift 4
rm -f *.pb input output outputs log first
[ -z "$mask" ] || taskset "$mask" true 2>/dev/null || mask=
: > outputs
n=0 code=0
while [ $n -lt $count ]; do
  rm -f output
  dd if="$inputs" of=input bs=$bytes skip=$n count=1 2>log || break
  if [ -n "$mask" ]; then taskset "$mask" "$@" >log 2>&1; else "$@" >log 2>&1; fi
  code=$?
  [ $code -eq 0 ] || break
  cat output >>outputs 2>>log || break
  [ $n -gt 0 ] || cp log first
  n=$((n + 1))
done
printf '@ran\n%s %s %s\n' $n $code "$mask"
s sha256 sha256sum outputs
rm -f input output "$inputs"
"""
_SAID = r"""
printf '\n@log\n'; cat "$1" 2>/dev/null
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of samples.

    Attributes:
        log: Of the first process, or of the one that failed.
        code: Of the last process.
        pinned: Whether they were bound to the cores.
        after: Answer to `STATE`.
        outputs: In float32, (N, …); of no samples where one did not come through.
    """

    log: str
    code: int
    pinned: bool
    after: str
    outputs: NDArray[np.float32]


def takes_samples(program: Program) -> bool:
    """Whether a program reads inputs from files and writes outputs: TensorFlow's newer ones do, LiteRT's does not."""
    return {"input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"} <= program.knows


def run_samples(
    transport: Transport, *, job: Mapping[str, Any], program: Program, cores: tuple[int, ...], model: Path
) -> Ran:
    """Run every sample in a process of its own.

    Args:
        transport: A connection to the target.
        job: Its `inputs` is an .npy here, float32, one sample a row, in the layout of the file; `model` lies there.
            `working` is held by what makes this machine work.
        program: That takes samples.
        cores: To bind it to.
        model: The same file here.

    Raises:
        DataError: The samples don't fit the file, or its tensors are of types that samples can't have.
        MeasurementError: The outputs are not those of the file, or changed on the way.
        TargetError: The target can't be reached, or took too long.
    """
    target = job["target"].name
    anatomy = read(model)
    samples = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)
    spec = anatomy.inputs[0]
    check_samples(spec, samples.shape, model.name)
    raw = Path(job["inputs"]).with_name("inputs.bin")
    with job.get("working", contextlib.nullcontext()):
        with raw.open("wb") as file:
            for sample in samples:
                file.write(quantize(sample, spec).tobytes())
        size_bytes = raw.stat().st_size // len(samples)
        inputs = transport.push(raw)
        raw.unlink()
    flags: dict[str, object] = {
        "graph": job["model"],
        "num_threads": job["threads"],
        **_FLAGS,
        **program.flags,
        "input_layer": _NAME,
        "input_layer_shape": ",".join(map(str, (1, *samples.shape[1:]))),
        "input_layer_value_files": f"{_NAME}:input",
        "output_filepath": "output",
    }
    words = [inputs, str(size_bytes), str(len(samples)), mask_of(cores) if cores else "", program.path]
    words += [f"--{name}={value}" for name, value in flags.items()]
    patience_s = _PATIENCE_S + _PATIENCE_PER_SAMPLE_S * len(samples)
    after = ask(transport, target, f"{SECTION}\n{_EACH}\ns scratch pwd\n{STATE}", *words, patience_s=patience_s)
    said = read_sections(after)
    ran, code, *mask = said["ran"].split()
    done = int(ran) == len(samples)
    log = ask(transport, target, _SAID, "first" if done else "log").partition("@log\n")[2]
    log = log.replace(f" is named {spec.name} but", " is named otherwise but")  # a name may have lines of its own
    outputs = np.empty(0, np.float32)
    if done:
        outputs = _fetch(transport, said, anatomy.outputs, len(samples), Path(job["inputs"]).with_name("outputs.bin"))
    return Ran(log=log, code=int(code), pinned=bool(mask), after=after, outputs=outputs)


def check_samples(spec: TensorSpec, shape: Sequence[int], where: str) -> None:
    """Check that samples, one a row, fit an input; the tool would resize it to whatever it is told.

    Raises:
        DataError: They don't.

    >>> check_samples(TensorSpec(name="x", shape=(None, 3), dtype="int8"), (10, 3), "m.tflite")
    """
    fits = len(spec.shape) == len(shape) and all(
        wanted in (None, given) for wanted, given in zip(spec.shape[1:], shape[1:], strict=True)
    )
    if not fits or spec.shape[0] not in (None, 1) or not shape[0]:
        raise DataError(f"input '{spec.name}' is {spec.shape}, the samples are {tuple(shape)}", where=where)


def _fetch(
    transport: Transport, said: Mapping[str, str], specs: Sequence[TensorSpec], count: int, local: Path
) -> NDArray[np.float32]:
    """Bring back the outputs, one file of all processes, and read the first output of each."""
    transport.pull(f"{said['scratch']}/outputs", local)
    if said["sha256"].split()[:1] != [store.sha256_of(local)]:
        raise MeasurementError("outputs changed on their way back")
    content = local.read_bytes()
    local.unlink()
    return read_outputs(content, specs, count)


def read_outputs(content: bytes, specs: Sequence[TensorSpec], count: int) -> NDArray[np.float32]:
    """Read what `--output_filepath` wrote: the bytes of all outputs, one after the other, without a header.

    Args:
        content: Of all processes, one after the other.
        specs: Of the file's outputs.
        count: How many processes there were.

    Returns:
        The first output of each in float32, (count, …), without a leading dimension of one.

    Raises:
        MeasurementError: It has another size.

    >>> spec = TensorSpec(name="y", shape=(1, 2), dtype="int8", scale=0.5, zero_point=-1)
    >>> read_outputs(np.array([1, 3, -1, 0], np.int8).tobytes(), [spec], 2).tolist()
    [[1.0, 2.0], [0.0, 0.5]]
    """
    first, *others = ([size or 1 for size in spec.shape] for spec in specs)
    dtypes = [_dtype_of(spec) for spec in specs]
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip((first, *others), dtypes, strict=True)]
    if len(content) != count * sum(sizes):
        raise MeasurementError(
            f"benchmark_model there wrote {len(content)} bytes for {count} samples, not {count * sum(sizes)}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(count, sum(sizes))[:, : sizes[0]]
    values = np.ascontiguousarray(rows).view(dtypes[0])
    return dequantize(values.reshape(count, *(first[1:] if len(first) > 1 and first[0] == 1 else first)), specs[0])


def quantize(values: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Bring samples to the dtype of an input, as the runner does: q = round(x / scale) + zero_point, saturated.

    Raises:
        DataError: Fractions, and an input of integers without a scale.

    >>> spec = TensorSpec(name="x", shape=(1, 3), dtype="int8", scale=0.5, zero_point=-1)
    >>> quantize(np.array([0.25, -0.75, 99.0], np.float32), spec).tolist()
    [-1, -3, 127]
    """
    dtype = _dtype_of(spec)
    if dtype.kind in "fb":
        return np.ascontiguousarray(values, dtype=dtype)
    scaled = np.rint(values / np.float32(spec.scale)) + (spec.zero_point or 0) if spec.scale else values
    if not spec.scale and not np.array_equal(np.rint(values), values):
        raise DataError(f"input '{spec.name}' is {dtype} without a scale, the samples are fractions")
    limits = np.iinfo(dtype)
    return np.ascontiguousarray(np.clip(scaled, limits.min, limits.max), dtype=dtype)


def dequantize(values: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Bring an output to float32, as the runner does: x = (q - zero_point) · scale."""
    if not spec.scale or values.dtype.kind == "f":
        return np.asarray(values, dtype=np.float32)
    return ((values.astype(np.int64) - (spec.zero_point or 0)) * spec.scale).astype(np.float32)


def _dtype_of(spec: TensorSpec) -> np.dtype[Any]:
    try:
        return np.dtype(spec.dtype)
    except TypeError:
        raise DataError(f"'{spec.name}' is of type {spec.dtype}, which samples can't have") from None
