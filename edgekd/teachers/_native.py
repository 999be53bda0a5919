"""Teachers that another framework's runtime computes: what they have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd import child, store
from edgekd.errors import ModelError
from edgekd.records import Task, TensorSpec
from edgekd.teachers._layout import Arrangement, LayoutOption, arrange

# Loading the framework, compiling the network and seven inferences; more is a file that was made to hang.
_TRIAL_TIMEOUT_S = 600.0
_TRIAL_SAMPLES = 3
_REASON_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file that a runtime has opened.

    Attributes:
        run: From an array of the first input's dtype and the number of an output to that output.
        resizes: Whether a batch of fixed size may be made larger.
        errors: What `run` raises for a batch that the network can't take.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    run: Callable[[NDArray[Any], int], NDArray[Any]]
    errors: tuple[type[Exception], ...]
    resizes: bool = False


class Engine(Protocol):
    """A file and the runtime that opens it; can be pickled."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def runtime(self) -> str:
        """Its name, for messages."""

    @property
    def usual_layout(self) -> Literal["channels_first", "channels_last"]:
        """Which layout files of this format mostly have."""

    def files(self) -> list[Path]:
        """All files that hold weights."""

    def open(self, threads: int) -> Opened:
        """Open the file."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the data asks of a teacher, and what the recipe says of its file."""

    input_shape: tuple[int, ...]
    outputs: int
    task: Task = "single_label"
    layout: LayoutOption = "auto"
    output: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Plan:
    arrangement: Arrangement
    dtype: str
    scale: float | None
    zero_point: int | None
    output: TensorSpec
    output_number: int
    batch: int | None  # None is any


class NativeTeacher(nn.Module):
    """A frozen teacher on the CPU, in another framework's runtime; torch sees no weights of it.

    Copies and pickles open the file again, and notice when it is another one by then.
    """

    def __init__(self, engine: Engine, wanted: Wanted, plan: _Plan) -> None:
        """Open a file that `load_native` has tried out."""
        super().__init__()
        self._engine, self._wanted, self._plan = engine, wanted, plan
        self._files = engine.files()
        self._sha256 = [store.sha256_of(file) for file in self._files]
        self._opened = engine.open(torch.get_num_threads())
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute outputs.

        Args:
            inputs: (B, *input_shape), float32, channels first.

        Returns:
            (B, outputs), float32, where the inputs are.

        Raises:
            ModelError: Inputs of another shape.
        """
        if tuple(inputs.shape[1:]) != self._wanted.input_shape:
            raise ModelError(
                f"inputs of shape {tuple(inputs.shape[1:])}",
                where=str(self._engine.path),
                allowed=f"{self._wanted.input_shape}",
            )
        samples = inputs.detach().to("cpu", torch.float32).numpy()
        if not len(samples):
            return inputs.new_empty((0, self._wanted.outputs), dtype=torch.float32)
        found = _compute(self._opened, self._plan, samples, self._plan.batch)
        if self._wanted.task == "reconstruction":
            found = self._plan.arrangement.undo(found)
        return torch.from_numpy(np.ascontiguousarray(found.reshape(len(samples), -1))).to(inputs.device)

    def fingerprint(self) -> str:
        """Hash of the weights' bytes, and of how they are read."""
        return store.fingerprint(self._sha256, self._plan.arrangement, self._plan.output.name)

    def extra_repr(self) -> str:
        """Show the file and what runs it."""
        return f"{self._engine.path.name}, {self._engine.runtime}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch does not annotate it
        if [store.sha256_of(file) for file in self._files] != self._sha256:
            raise ModelError("the file is another one than when the teacher was loaded", where=str(self._engine.path))
        self._opened = self._engine.open(torch.get_num_threads())


def load_native(engine: Engine, wanted: Wanted) -> NativeTeacher:
    """Try a file out in a process of its own, then open it here.

    A runtime that meets a damaged file may crash, and some networks can't take several samples at once, or mix them:
    the trial tells, and such networks get one sample at a time.

    Raises:
        ModelError: The runtime can't run it, or it does not fit the data.
    """
    where = str(engine.path)
    try:
        plan = child.call(engine.runtime, _try_out, engine, wanted, torch.get_num_threads(), timeout_s=_TRIAL_TIMEOUT_S)
    except child.ChildCrashError as error:
        raise ModelError(f"{engine.runtime} can't run it: {_reason(error)}", where=where) from None
    return NativeTeacher(engine, wanted, plan)


def check_file(path: Path, *, allowed: str, folders: bool = False) -> Path:
    """Check that there is something to open.

    Raises:
        ModelError: There is not.
    """
    if not path.exists():
        raise ModelError("no such file", where=str(path), next_step="check the teacher's 'weights'")
    if not path.is_file() and not folders:
        raise ModelError("not a file", where=str(path), allowed=allowed)
    if path.is_file() and not path.stat().st_size:
        raise ModelError("the file is empty", where=str(path), allowed=allowed)
    return path.absolute()


def _try_out(engine: Engine, wanted: Wanted, threads: int) -> _Plan:
    where = str(engine.path)
    opened = engine.open(threads)
    if len(opened.inputs) != 1:
        names = ", ".join(each.name for each in opened.inputs)
        raise ModelError(f"takes {len(opened.inputs)} inputs: {names}", where=where, allowed="one input")
    taken = opened.inputs[0]
    if not re.fullmatch(r"float(16|32|64)|u?int(8|16|32|64)", taken.dtype):
        raise ModelError(f"takes {taken.dtype}", where=where, allowed="float16, float32, float64 or integers")
    number = _choose(opened.outputs, wanted.output, where)
    plan = _Plan(
        arrangement=arrange(
            taken.shape[1:] if taken.shape else (None,) * len(wanted.input_shape),
            input_shape=wanted.input_shape,
            layout=wanted.layout,
            usual=engine.usual_layout,
            where=where,
        ),
        dtype=taken.dtype,
        scale=taken.scale,
        zero_point=taken.zero_point,
        output=opened.outputs[number],
        output_number=number,
        batch=taken.shape[0] if taken.shape else None,
    )
    samples = _trial_samples(wanted.input_shape, taken)
    one_by_one = _compute(opened, plan, samples, plan.batch or 1)
    per_sample = math.prod(one_by_one.shape[1:])
    if per_sample != wanted.outputs:
        raise ModelError(
            f"gives {per_sample} numbers per sample (shape {one_by_one.shape[1:]}), the data asks for {wanted.outputs}",
            where=where,
            next_step="take a teacher of the same classes, or another 'output_name' of it",
        )
    if plan.batch is not None and not (plan.batch == 1 and opened.resizes):
        return plan
    unable: tuple[type[Exception], ...] = (ModelError, *opened.errors)
    try:
        together = _compute(opened, plan, samples, None)
    except unable:
        return _with_batch(plan, 1)
    tolerance = 1e-3 * float(np.abs(one_by_one).max(initial=0.0))
    same = np.allclose(together, one_by_one, rtol=1e-3, atol=tolerance, equal_nan=True)
    return _with_batch(plan, None if same else 1)


def _with_batch(plan: _Plan, batch: int | None) -> _Plan:
    return _Plan(**{**plan.__dict__, "batch": batch})


def _choose(outputs: tuple[TensorSpec, ...], name: str | None, where: str) -> int:
    names = [each.name for each in outputs]
    if name in names:
        return names.index(name)
    if name is None and len(names) == 1:
        return 0
    raise ModelError(
        f"has {len(names)} outputs" if name is None else f"no output '{name}'",
        where=where,
        allowed=", ".join(names),
        next_step="choose one with 'output_name' in the teacher's options" if name is None else None,
    )


def _trial_samples(input_shape: tuple[int, ...], taken: TensorSpec) -> NDArray[np.float32]:
    """Samples that differ much, so that a network that mixes them is seen."""
    chance = np.random.default_rng(0)
    shape = (_TRIAL_SAMPLES, *input_shape)
    if taken.dtype.startswith(("int", "uint")) and not taken.scale:  # perhaps indices, of which 0 and 1 always exist
        return chance.integers(0, 2, shape).astype(np.float32)
    scales = np.array([1, 16, 255], np.float32).reshape(-1, *(1 for _ in input_shape))
    return chance.random(shape, dtype=np.float32) * scales


def _compute(opened: Opened, plan: _Plan, samples: NDArray[np.float32], batch: int | None) -> NDArray[np.float32]:
    arranged = _encode(plan.arrangement.apply(samples), plan)
    step = batch or len(arranged)
    parts = []
    for start in range(0, len(arranged), step):
        part = arranged[start : start + step]
        count = len(part)
        if count < step:  # the file takes whole batches only
            part = np.concatenate([part, np.repeat(part[-1:], step - count, axis=0)])
        found = opened.run(part, plan.output_number)
        if not found.ndim or len(found) != step:
            # Without a batch axis, one sample is all that there can be.
            if step != 1:
                raise ModelError(f"gives an output of shape {found.shape} for {step} samples")
            found = found[None]
        parts.append(_decode(found[:count], plan.output))
    return np.concatenate(parts)


def _encode(samples: NDArray[np.float32], plan: _Plan) -> NDArray[Any]:
    dtype = np.dtype(plan.dtype)
    if dtype.kind == "f":
        return samples.astype(dtype, copy=False)
    # Rounded before the zero point is added, which would cost digits.
    whole = (
        np.rint(samples / np.float32(plan.scale)) + np.float32(plan.zero_point or 0) if plan.scale else np.rint(samples)
    )
    # Wider integers than float32 has digits hold indices, far from their limits.
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize < 4 else (-(2**31) + 128, 2**31 - 128)
    return np.clip(whole, low, high).astype(dtype)


def _decode(found: NDArray[Any], output: TensorSpec) -> NDArray[np.float32]:
    if found.dtype.kind in "iu" and output.scale:
        return (found.astype(np.float32) - np.float32(output.zero_point or 0)) * np.float32(output.scale)
    return found.astype(np.float32, copy=False)


def _reason(error: child.ChildCrashError) -> str:
    lines = [line.strip() for line in error.what.splitlines() if line.strip()]
    crashed = " failed; its last lines" not in lines[0]
    # A traceback helps nobody here: its last line is what went wrong.
    return (lines[0].partition("; its last lines")[0] if crashed else lines[-1])[:_REASON_CHARACTERS]
