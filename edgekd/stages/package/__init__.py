"""Puts around each model file what an app or a firmware needs, and proves that what it wrote predicts the same."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgekd import store
from edgekd.errors import EdgekdError, ExportError, MissingExtraError, write_error
from edgekd.progress import Progress, Silent
from edgekd.records import Cargo, Package, PackagerTerm, PackedFile, Target
from edgekd.stages.package.arenas import find_arenas
from edgekd.stages.package.choosing import Task, formats_of, is_microcontroller, tasks_of
from edgekd.stages.package.proving import Copy, make_vectors, noise_for, prove

__all__ = ["find_arenas", "formats_of", "is_microcontroller", "make_vectors", "noise_for", "package"]

_log = logging.getLogger("edgekd")
# Packagers wait for other programs more than they compute.
_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class _Packed:
    package: Package
    copies: tuple[Copy, ...]
    refusals: Mapping[str, EdgekdError]


def package(
    cargos: Mapping[str, Cargo],
    *,
    folder: Path,
    targets: Sequence[Target] = (),
    packagers: Sequence[PackagerTerm] | None = None,
    progress: Progress | None = None,
) -> tuple[Package, ...]:
    """Package model files, each into a folder of its own.

    Model files that a packager writes (with metadata inside, or in another runtime's format) are run beside the file
    that they were made of: they must predict the same.

    Args:
        cargos: By the package's folder, relative to `folder`; `"."` is `folder` itself.
        folder: Made when missing.
        targets: Where the files run: C sources are for microcontrollers, Vela is for accelerators.
        packagers: `None` takes those that suit a file and the targets that lint finds no error for. One of these that
            refuses a file, or is not installed, is left out with a warning. One that is named here, and makes something
            of none of the files, is an error.
        progress: Told of each finished file.

    Returns:
        What is in each package, and what was left out.

    Raises:
        ConfigError: No such packager, or an option out of range.
        MissingExtraError: A named packager is not installed.
        ExportError: A named packager refused all files, or what one wrote does not predict the same.

    >>> import onnx
    >>> from onnx import TensorProto, helper
    >>> place = Path(tempfile.mkdtemp())
    >>> ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    >>> file = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    >>> onnx.save(file, place / "m.onnx")
    >>> from edgekd.stages.benchmark import describe_file
    >>> cargo = Cargo(model=describe_file(place / "m.onnx"), labels=("a", "b", "c", "d"))
    >>> (made,) = package({".": cargo}, folder=place / "p", packagers=[PackagerTerm(name="onnx_metadata")])
    >>> [each.path for each in made.files]
    ['m.metadata.onnx']
    """
    progress = progress or Silent()
    progress.start("package", len(cargos))
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [
                pool.submit(_pack, cargo, folder, place, _tasks(cargo, targets, packagers))
                for place, cargo in cargos.items()
            ]
            packed = []
            for future in futures:
                packed.append(future.result())
                progress.advance()
    finally:
        progress.end()
    for term in packagers or ():
        _require(term, packed)
    prove([copy for each in packed for copy in each.copies])
    return tuple(each.package for each in packed)


def _tasks(cargo: Cargo, targets: Sequence[Target], packagers: Sequence[PackagerTerm] | None) -> list[Task]:
    text = cargo.tokens is not None and bool(cargo.tokens.tokenizer)
    return tasks_of(cargo.model, _fit(cargo, targets), packagers, text=text)


def _fit(cargo: Cargo, targets: Sequence[Target]) -> list[Target]:
    """The targets that lint finds no error for."""
    refused = {each.target for each in cargo.findings if each.severity == "error"}
    return [target for target in targets if target.name not in refused]


def _pack(cargo: Cargo, folder: Path, place: str, tasks: Sequence[Task]) -> _Packed:
    files: dict[str, PackedFile] = {}
    copies: list[Copy] = []
    refusals: dict[str, EdgekdError] = {}
    target = folder / place
    model = cargo.model
    if model.path.is_file() and store.sha256_of(model.path) != model.sha256:
        raise ExportError(
            "not the file that was measured",
            where=str(model.path),
            next_step="run the recipe again, or bring the file back",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(target, error) from error
    for task in tasks:
        # What stops half-way leaves nothing.
        with tempfile.TemporaryDirectory(dir=target, prefix=store.PARTIAL) as partial:
            try:
                made = task.pack(cargo=cargo, folder=Path(partial), **task.options)
            except (ExportError, MissingExtraError) as error:
                _log.warning("%s: no %s: %s", cargo.model.name, task.label, error)
                refusals[task.label] = error
                continue
            for path in made:
                name = _place_of(path, Path(partial), task, cargo, files)
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target / name)
                files[name] = PackedFile(path=name, packager=task.name, sha256=store.sha256_of(target / name))
                if task.keeps and path.suffix in (".tflite", ".onnx", ".ort"):
                    copies.append(Copy(cargo=cargo, path=target / name, exact=task.keeps == "bits"))
    return _Packed(
        package=Package(
            model=cargo.model.name,
            model_sha256=cargo.model.sha256,
            folder=Path(place).as_posix(),
            files=tuple(files.values()),
            left_out={label: str(error) for label, error in refusals.items()},
        ),
        copies=tuple(copies),
        refusals=refusals,
    )


def _place_of(path: Path, partial: Path, task: Task, cargo: Cargo, files: Mapping[str, PackedFile]) -> str:
    if not path.resolve().is_relative_to(partial.resolve()) or not path.is_file():
        raise ExportError(
            f"packager '{task.name}' gives {path.name}, which it did not write into its folder",
            where=cargo.model.name,
            next_step="let it write below `folder`",
        )
    name = (Path(task.folder) / path.relative_to(partial)).as_posix()
    if name in files:
        raise ExportError(
            f"packagers '{files[name].packager}' and '{task.name}' both write {name}",
            where=cargo.model.name,
            next_step="leave one out, or give one of them another name for its files",
        )
    return name


def _require(term: PackagerTerm, packed: Sequence[_Packed]) -> None:
    """Refuse that a packager which was asked for made nothing."""
    if any(file.packager == term.name for each in packed for file in each.package.files):
        return
    refused = [
        error for each in packed for label, error in each.refusals.items() if label.partition(" for ")[0] == term.name
    ]
    if refused:
        raise refused[0]
    raise ExportError(
        f"packager '{term.name}' has no file to package",
        allowed=f"files of {', '.join(formats_of(term.name))}",
        next_step="export one, or leave it out",
    )
