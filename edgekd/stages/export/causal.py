"""Makes files of causal language models, which keep keys and values, and holds what they predict against torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd import child, inspection, registry
from edgekd.errors import ConfigError, DataError, ExportError
from edgekd.inspection import Anatomy
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Format
from edgekd.stages.export.converting import Read, Written, convert, pack
from edgekd.stages.export.making import Exported, Job, Source, prepared_source
from edgekd.stages.export.requirements import check_context, check_inputs, check_spec, check_tokens, check_weights
from edgekd.stages.export.watching import exact_session
from edgekd.store import sha256_of

if TYPE_CHECKING:
    from torch import nn

# Logits that are compared are in memory, of torch and of one file.
_BYTES = 2**26
_WINDOWS = 16
# Tokens at the end of each window that go in one by one, as they do where text is made.
_SINGLY = 8


def export_causal(
    student: nn.Module,
    *,
    folder: Path,
    spec: ExportSpec,
    check: NDArray[np.float32],
    parent_sha256: str | None = None,
    name: str = "student",
    progress: Progress | None = None,
) -> Exported:
    """Write a causal language model in formats and precisions, and check what each predicts of every token.

    Of ONNX one file does prompts and single tokens, of TFLite one with two signatures: `edgekd.frameworks.causal` says
    what goes in and out. They are checked as they are used: the beginning of each window as a prompt, the end token by
    token, with the keys and values that the file gave.

    Args:
        student: As of `edgekd.frameworks.causal.Causal`. Stays as it is.
        folder: Made when missing.
        spec: Formats and precisions.
        check: Windows of tokens of the validation split, (N, T).
        parent_sha256: Of the student's weights.
        name: First part of the files' names.
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the student: `parity` of each token.

    Raises:
        ConfigError: A precision that needs ranges, or something that classifiers have.
        ModelError: Nothing whose keys and values can be kept.
        DataError: No tokens, or too few.
        ExportError: A conversion failed, or a file is not what it claims.
    """
    from edgekd.frameworks.causal import Causal

    check_spec(spec, name)
    _check_spec(spec)
    check_weights(student)
    _check_windows("check", check)
    check_context(spec, check.shape[1])
    # A copy: it is changed on its way into files.
    network, packed = pack(Causal(pack(student)[0], context=spec.context))
    windows = check[: _fitting(network, check)]
    job = Job(
        name=name,
        spec=spec,
        check=windows,
        outputs=_logits(network, windows),
        task="next_token",
        parent_sha256=parent_sha256,
        converters=None,
        read=read_and_generate,
    )
    job.clear(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:

        def source(format_name: Format) -> Source:
            plain = Path(partial) / f"{name}.{format_name}"
            convert(format_name, packed, windows[:1], plain)
            return prepared_source(format_name, plain)

        with ThreadPoolExecutor(len(spec.formats)) as pool:
            sources = list(pool.map(source, spec.formats))
        return job.run(sources, None, folder, progress)


def is_causal(anatomy: Anatomy) -> bool:
    """Whether a file keeps keys and values, named as edgekd names them."""
    names = {each.name for each in anatomy.inputs}
    return {"input", "past_key_0"} <= names or {"tokens", "kv_cache_k_0"} <= names


def export_causal_file(
    path: Path,
    *,
    samples: NDArray[np.float32],
    folder: Path,
    spec: ExportSpec,
    progress: Progress | None = None,
) -> Exported:
    """Write a causal language model's file in other precisions, each held against what the file itself predicts.

    Args:
        path: As `export_causal` writes them, in float32.
        samples: Windows of tokens, (N, T).
        folder: Made when missing; files are called as this one, with the precision.
        spec: Precisions; its formats are replaced by the file's own.
        progress: Told of each finished file.

    Raises:
        EdgekdError: As `export_causal`.
    """
    format_name = inspection.inspect(path).format
    spec = replace(spec, formats=(format_name,))
    check_spec(spec, path.stem)
    _check_spec(spec)
    _check_windows("calibration", samples)
    windows = samples[:_WINDOWS].astype(np.float32, copy=False)
    (itself,) = read_and_generate(format_name, [Written(path=path, precision="fp32", source=path)], windows)
    job = Job(
        name=path.stem,
        spec=spec,
        check=windows,
        outputs=itself.outputs,
        task="next_token",
        parent_sha256=sha256_of(path),
        converters={},
        read=read_and_generate,
    )
    job.clear(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        # Under a name of its own: an asked for file may be called as this one.
        plain = Path(partial) / f"float.{format_name}"
        shutil.copyfile(path, plain)
        return job.run([prepared_source(format_name, plain)], None, folder, progress)


def _check_windows(name: str, windows: NDArray[np.float32]) -> None:
    check_inputs(name, windows)
    check_tokens(name, windows)
    if windows.shape[1] <= _SINGLY:
        raise DataError(
            f"windows of {windows.shape[1]} tokens",
            where="export",
            allowed=f"more than {_SINGLY}: a prompt and its end",
        )


def _check_spec(spec: ExportSpec) -> None:
    refused = {
        "precisions": [each for _, each in spec.pairs() if each.startswith("static")],
        "corrections": [term.name for term in spec.corrections],
        "mixed": ["mixed"] if spec.mixed else [],
        "head": [spec.head] if spec.head != "logits" else [],
    }
    for key, values in refused.items():
        if values:
            raise ConfigError(
                f"{key} = {values} of a causal language model",
                where="export",
                allowed="fp32, fp16, dynamic_wi8_afp32 and weight-only precisions; logits",
                next_step="leave it out: keys, values and activations stay float32",
            )


def _fitting(network: nn.Module, check: NDArray[np.float32]) -> int:
    first = _logits(network, check[:1])
    return max(1, min(_WINDOWS, len(check), _BYTES // first.nbytes))


def _logits(network: nn.Module, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give rows of logits, one for each token, (N * T, V)."""
    import torch

    with torch.inference_mode():
        rows = [network(torch.tensor(window[None])).float().numpy() for window in windows]
    logits: NDArray[np.float32] = np.concatenate(rows).reshape(-1, rows[0].shape[-1])
    if not np.isfinite(logits).all():
        raise ExportError("the student gives logits that are not finite", where="export")
    return logits


def read_and_generate(format_name: str, files: Sequence[Written], inputs: NDArray[np.float32]) -> list[Read]:
    """Read files and let them predict windows, in one child.

    Args:
        format_name: `onnx` or `tflite`.
        files: Of the format.
        inputs: Tokens, (N, T).

    Returns:
        With logits as outputs, one row for each token, (N * T, V); and no layers.

    Raises:
        ExportError: The runtime can't load or run a file.
    """
    try:
        return child.call(f"the {format_name} runtime", _read_and_generate, format_name, files, inputs)
    except child.ChildCrashError as error:
        raise ExportError(error.what, where=files[0].path.name) from None


def _read_and_generate(format_name: str, files: Sequence[Written], inputs: NDArray[np.float32]) -> list[Read]:
    run = {"onnx": _run_onnx, "tflite": _run_tflite}[format_name]
    read, windows = registry.function("formats", format_name), inputs.astype(np.int64)
    return [
        Read(anatomy=read(file.path), outputs=np.concatenate([*run(file.path, windows)]), layers=()) for file in files
    ]


def _run_onnx(path: Path, windows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Logits of each window, (T, V)."""
    import onnx

    session = exact_session(onnx.load(str(path)))
    kept = session.get_inputs()[1:]
    for window in windows:
        caches = [np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32) for each in kept]
        for tokens in np.split(window, range(len(window) - _SINGLY, len(window))):
            feed = {"input": tokens[None], **dict(zip([each.name for each in kept], caches, strict=True))}
            logits, *caches = session.run(None, feed)
            yield logits[0]


def _run_tflite(path: Path, windows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    signatures = interpreter.get_signature_list()
    prefill = next(each for each in signatures if each.startswith("prefill_"))
    length = int(prefill.removeprefix("prefill_"))
    runners = {each: interpreter.get_signature_runner(each) for each in (prefill, "decode")}
    shapes = {name: each["shape"] for name, each in runners["decode"].get_input_details().items()}
    for window in windows:
        caches: dict[str, Any] = {
            name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name.startswith("kv_cache_")
        }
        head = len(window) - _SINGLY
        for start in range(0, head, length):
            tokens, numbers = np.zeros((1, length), np.int32), np.arange(start, start + length, dtype=np.int32)
            count = min(length, head - start)
            tokens[0, :count] = window[start : start + count]
            given = runners[prefill](tokens=tokens, positions=numbers, **caches)
            yield given.pop("logits")[0, :count]
            caches = given
        for place in range(head, len(window)):
            tokens, numbers = window[None, place : place + 1].astype(np.int32), np.array([place], np.int32)
            given = runners["decode"](tokens=tokens, positions=numbers, **caches)
            yield given.pop("logits")[0]
            caches = given
