"""Where the user's files are, and folders that hold one sub-folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekd import store
from edgekd.errors import DataError, did_you_mean


def find(path: Path | str, key: str = "path", *, folder: bool = False) -> Path:
    """Find a file, or a file or folder.

    Args:
        path: As the user gave it; a relative one is also looked for in the folders of `EDGEKD_DATA`, there also in
            a folder of the file's own name.
        key: The option, for messages.
        folder: Whether a folder will do too.

    Raises:
        DataError: There is none.
    """
    path = Path(path)
    for place in (Path(), *store.data_folders()):
        for candidate in (place / path, place / path.stem / path.name):
            if candidate.is_file() or (folder and candidate.is_dir()):
                return candidate
    raise DataError(
        f"no {'file or folder' if folder else 'file'} '{path}'",
        where=f"data.{key}",
        next_step=f"give its place with --set data.{key}=..., or put its folder into the variable EDGEKD_DATA",
    )


def root_of(path: Path | str) -> Path | None:
    """The folder that an option means, where it means one."""
    try:
        found = find(path, folder=True)
    except DataError:
        return None
    return found if found.is_dir() else None


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """Files of each class, in the order of their names; `labels` index `classes`."""

    classes: tuple[str, ...]
    train: tuple[Path, ...]
    train_labels: tuple[int, ...]
    test: tuple[Path, ...] = ()
    test_labels: tuple[int, ...] = ()


def scan(root: Path, suffixes: tuple[str, ...]) -> ClassFolders:
    """List `root/CLASS/*`, or `root/train/CLASS/*` and `root/test/CLASS/*`; hidden files are left out.

    Args:
        root: The folder.
        suffixes: Of the files to take, in lower case.

    Raises:
        DataError: No folders of classes, a class without files, or a test class that training lacks.
    """
    places = _folders(root)
    if "train" not in places:
        classes, files, labels = _scan_part(root, tuple(places), suffixes)
        return ClassFolders(classes=classes, train=files, train_labels=labels)
    if other := sorted(set(places) - {"train", "test"}):
        raise DataError(
            f"folder '{other[0]}' beside 'train'",
            where=str(root),
            allowed="train and test",
            next_step="edgekd holds out validation samples itself: move those of this folder into train, or away",
        )
    classes, files, labels = _scan_part(places["train"], tuple(_folders(places["train"])), suffixes)
    if "test" not in places:
        return ClassFolders(classes=classes, train=files, train_labels=labels)
    for name in _folders(places["test"]):
        if name not in classes:
            raise DataError(
                f"class '{name}' has no training files",
                where=str(places["test"]),
                allowed=", ".join(classes),
                next_step=did_you_mean(name, classes),
            )
    _, test, test_labels = _scan_part(places["test"], classes, suffixes, may_lack=True)
    return ClassFolders(classes=classes, train=files, train_labels=labels, test=test, test_labels=test_labels)


def _folders(root: Path) -> dict[str, Path]:
    found = {each.name: each for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")}
    return dict(sorted(found.items()))


def _scan_part(
    root: Path, classes: tuple[str, ...], suffixes: tuple[str, ...], *, may_lack: bool = False
) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[int, ...]]:
    if not classes:
        raise DataError(
            "holds no folders", where=str(root), next_step="put the files of each class into its own folder"
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(
            each
            for each in (root / name).rglob("*")
            if each.suffix.lower() in suffixes and not each.name.startswith(".") and each.is_file()
        )
        if not found and not may_lack:
            raise DataError("holds no files", where=str(root / name), allowed=f"some of {', '.join(suffixes)}")
        files += found
        labels += [label] * len(found)
    return classes, tuple(files), tuple(labels)
