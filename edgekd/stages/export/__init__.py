"""Makes model files of a student, and lets none go out that does not predict what the student predicts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Format, Preprocessing, Task
from edgekd.stages.export.auditing import warn_of_missing_classes
from edgekd.stages.export.bare import export_file
from edgekd.stages.export.calibrating import SampleSource
from edgekd.stages.export.causal import export_causal
from edgekd.stages.export.converting import convert, pack
from edgekd.stages.export.correcting import correct
from edgekd.stages.export.given import channels_first, export_given, kind_of
from edgekd.stages.export.learned import Learned
from edgekd.stages.export.making import Chosen, Exported, Job, Source, is_static, prepared_source
from edgekd.stages.export.mixing import Mixer
from edgekd.stages.export.requirements import (
    check_calibration,
    check_context,
    check_inputs,
    check_spec,
    check_task,
    check_token_spec,
    check_tokens,
    check_weights,
)

if TYPE_CHECKING:
    from torch import nn

    from edgekd.simulation import Quantized

__all__ = [
    "Exported",
    "channels_first",
    "check_context",
    "check_task",
    "check_token_spec",
    "export",
    "export_file",
    "export_given",
    "kind_of",
]

_TORCH_BATCH = 256
_EXAMPLES = 4


def export(
    student: nn.Module,
    *,
    folder: Path,
    spec: ExportSpec | None = None,
    quantized: Quantized | None = None,
    calibration: SampleSource,
    check: NDArray[np.float32],
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    validation: SampleSource | None = None,
    validation_labels: NDArray[Any] | None = None,
    parent_sha256: str | None = None,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008 - frozen
    task: Task = "single_label",
    name: str = "student",
    converters: Mapping[str, tuple[str, ...]] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a student in every format and precision, and check each file against the student.

    Files are called `{name}.{precision}.{format}`. They appear together, when all have passed: their weights
    have the precision that they claim, and a runtime of their format predicts what torch predicts.

    Args:
        student: Takes (N, C, H, W), (N, F) or, with `takes_tokens = True`, (N, T); gives (N, outputs): logits or
            values. Stays as it is.
        folder: Made when missing.
        spec: Formats, precisions, and how many calibration samples; `None` takes the defaults.
        quantized: The student that learned with the rounding of a precision: files of that precision are made of its
            weights and ranges, and checked against what it gives.
        calibration: Inputs of the training split, shape (N, …): an array, or anything whose slices are arrays. Raw
            where the spec says so, else as the network takes them.
        check: The same of the validation split, shape (N, …).
        labels: Classes of the calibration samples, shape (N,); a class that none of those drawn is of is said.
        classes: Names of the classes.
        validation: All inputs of the validation split, like `check`: a mixed file is chosen on them.
        validation_labels: As `edgekd.datasets.Split` has them for the task.
        parent_sha256: Of the student's weights.
        preprocessing: What makes the network's inputs of raw ones; with raw inputs the files do it.
        task: What the student predicts, which decides what it means that a file predicts the same; files that predict
            the `next_token` keep keys and values (`edgekd.stages.export.causal`).
        name: First part of the files' names.
        converters: By format, the distributions that decide a float file's bytes; `None` is those of its exporter.
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the student.

    Raises:
        ConfigError: A format or precision that does not exist, or none.
        MissingExtraError: A converter that is not installed.
        ModelError: Weights that are not finite, or outputs that are not finite or of another shape.
        DataError: Inputs that are not finite, constant, noise, or of another shape or range than the others.
        ExportError: A conversion failed, or a file is not what it claims; then no file is left.

    >>> import tempfile, torch
    >>> student = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    >>> inputs = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    >>> made = export(
    ...     student,
    ...     folder=Path(tempfile.mkdtemp()),
    ...     spec=ExportSpec(formats=("onnx",), precisions=("fp32",)),
    ...     calibration=inputs,
    ...     check=inputs,
    ... )
    >>> made.models[0].path.name, sum(made.measurements[0].samples)
    ('student.fp32.onnx', 16.0)
    """
    import torch

    from edgekd.stages.export.ends import absorb, with_head

    spec = spec or ExportSpec()
    if task == "next_token":
        return export_causal(
            student, folder=folder, spec=spec, check=check, parent_sha256=parent_sha256, name=name, progress=progress
        )
    check_task(task)
    check_spec(spec, name)
    if spec.head != "logits" and task != "single_label":
        raise ConfigError(f"head = {spec.head} of {task}", where="export", allowed="logits", next_step="leave head out")
    check_weights(student)
    check_inputs("check", check)
    tokens = _takes_tokens(student, spec, check)
    chosen = None
    if is_static(spec) or spec.corrections:
        chosen = Chosen(calibration, spec.calibration)
        check_calibration(chosen, check, tokens=tokens)
        if labels is not None:
            warn_of_missing_classes(labels[chosen.numbers], classes)
    plain, _ = pack(student)
    folded = preprocessing if spec.takes_raw(task) and preprocessing.is_needed else None
    ready = folded.apply(check) if folded else check
    outputs = _predict(with_head(plain, spec.head if spec.head == "probabilities" else "logits"), ready)

    def taking_raw(inner: nn.Module) -> nn.Module:
        return absorb(inner, folded, torch.from_numpy(check[:_EXAMPLES])) if folded else inner

    ended = taking_raw(plain)
    network, packed = pack(with_head(ended, spec.head))
    mixer = None
    if spec.mixed:
        if validation is None or validation_labels is None:
            raise DataError("no validation split to choose precisions on", where="export.mixed")
        # A head changes no layer, and logits say more than what it makes of them.
        mixer = Mixer(ended, spec, inputs=validation, labels=validation_labels, task=task)
    learned = Learned.of(quantized, ready, raw=check, preprocessing=folded, head=spec.head) if quantized else None
    corrected, worth = correct(
        network, spec, samples=chosen, check=check, progress=progress, learned=learned.precision if learned else None
    )
    if quantized:
        corrected[quantized.precision] = pack(with_head(taking_raw(quantized.network), spec.head))[1]
    job = Job(
        learned=learned,
        name=name,
        spec=spec,
        check=check,
        outputs=outputs,
        task=task,
        parent_sha256=parent_sha256,
        input_scale=1.0 if spec.takes_raw(task) else preprocessing.scale,
        mixer=mixer,
        converters=converters,
    )
    job.clear(folder)
    # The name tells the run folder what to clear away after a crash.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        tasks: list[tuple[Format, str | None, bytes]] = [(name, None, packed) for name in spec.formats]
        tasks += [(name, each, network) for each, network in corrected.items() for name in formats_of(spec, each)]
        # Threads only wait for children: each format's converter imports for seconds.
        with ThreadPoolExecutor(len(spec.formats)) as pool:
            stem, example = Path(partial) / name, check[:1]
            any_length = spec.lengths == "dynamic"
            sources = list(
                pool.map(lambda task: _convert(task[0], task[1], task[2], example, stem, any_length=any_length), tasks)
            )
        return replace(job.run(sources, chosen, folder, progress), corrections=worth)


def _takes_tokens(student: nn.Module, spec: ExportSpec, check: NDArray[np.float32]) -> bool:
    """Whether inputs are tokens; refuses samples that are none, and lengths of what has none."""
    if getattr(student, "takes_tokens", False):
        check_token_spec(spec)
        check_tokens("check", check)
        return True
    if spec.lengths == "dynamic":
        raise ConfigError(
            "lengths = dynamic of a network that takes no tokens", where="export", next_step="leave lengths out"
        )
    return False


def formats_of(spec: ExportSpec, precision: str) -> list[Format]:
    """Give the formats that are made in a precision."""
    return [name for name, each in spec.pairs() if each == precision]


def _convert(
    format_name: Format,
    precision: str | None,
    network: bytes,
    example: NDArray[np.float32],
    stem: Path,
    *,
    any_length: bool,
) -> Source:
    plain = stem.with_name(f"{stem.name}{f'.for_{precision}' if precision else ''}.{format_name}")
    convert(format_name, network, example, plain, any_length=any_length)
    return prepared_source(format_name, plain, precision)


def _predict(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = [
            network(torch.tensor(inputs[start : start + _TORCH_BATCH])) for start in range(0, len(inputs), _TORCH_BATCH)
        ]
    for batch in batches:
        if not isinstance(batch, torch.Tensor) or batch.ndim != 2:
            shape = tuple(batch.shape) if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise ModelError(f"the student gives {shape}", where="export", allowed="outputs of shape (N, numbers)")
    outputs: NDArray[np.float32] = torch.cat(batches).float().numpy()
    if not np.isfinite(outputs).all():
        raise ModelError("the student gives outputs that are not finite", where="export")
    return outputs
