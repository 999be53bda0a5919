"""Any dataset of Hugging Face's library: local files by imagefolder, csv, json or parquet, or a name of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.datasets import Source, Split
from edgekd.datasets._labels import number_classes, number_groups, sort_classes
from edgekd.datasets._pictures import to_square
from edgekd.datasets._text_files import check_pairs, joined
from edgekd.datasets._texts import Text, Texts, Tokenization
from edgekd.errors import ConfigError, DataError, did_you_mean

_PURPOSE = "dataset 'huggingface'"


def load(
    *,
    path: str,
    inputs: tuple[str, ...],
    labels: tuple[str, ...],
    config: str | None = None,
    revision: str | None = None,
    folder: Path | None = None,
    file: Path | None = None,
    test_file: Path | None = None,
    train_split: str = "train",
    validation_split: str | None = None,
    test_split: str | None = None,
    group: str | None = None,
    task: Literal["single_label", "multi_label", "regression"] = "single_label",
    classes: tuple[str, ...] | None = None,
    size: int = 96,
    channels: Literal[1, 3] = 3,
    fit: Literal["crop", "stretch"] = "crop",
    scale: float | None = None,
    pairs: bool = False,
    length: int = 128,
    longer: Literal["cut", "refuse"] = "cut",
    tokenizer: Path | None = None,
    hub_tokenizer: str | None = None,
    tokenizer_revision: str = "main",
    kind: Literal["wordpiece", "bpe", "word"] = "wordpiece",
    vocabulary: int = 8000,
    lowercase: bool = True,
) -> Source:
    """Load a dataset by `datasets.load_dataset`.

    Args:
        path: A builder for local files (`imagefolder`, `csv`, `json`, `parquet`), which needs no network, or a
            dataset's name on the hub. No code of a dataset is run.
        inputs: One column of pictures or of equally long lists of numbers, or several columns of numbers; or columns of
            texts, which are joined by spaces.
        labels: One column of classes; for `multi_label` and `regression` one or more of numbers.
        config: A dataset's configuration on the hub.
        revision: Commit on the hub; give one, so that the data stay the same.
        folder: For a local builder: a folder of files.
        file: For a local builder: one file.
        test_file: Beside `file`: the test samples.
        train_split: As the library writes splits, e.g. `train` or `train[:10%]`.
        validation_split: For choices; else a share of the training samples is held out.
        test_split: Kept for the end; with `test_file` it is `test`.
        group: Column that says what belongs together; no split parts a group.
        task: What is learned.
        classes: Names, in an order of one's own; else those of the column, or the values that occur.
        size: Height and width of pictures, in pixels.
        channels: Of pictures: 3 for colours, 1 for grey.
        fit: Whether pictures that are no squares lose their margins or their proportions.
        scale: What values are multiplied by; 1/255 for bytes and pictures and 1 for floats by default.
        pairs: Keep two columns of texts apart, which the tokenizer puts together by its own template; as in `text`.
        length: Of texts, in tokens; shorter ones are filled up.
        longer: `cut` longer texts, and say how many; or `refuse` them.
        tokenizer: A `tokenizer.json`, BERT's `vocab.txt`, or a folder that `save_pretrained` wrote.
        hub_tokenizer: A tokenizer's name on the hub.
        tokenizer_revision: Its branch, tag or commit.
        kind: Of tokenizer to train on the training split's texts, where none is given.
        vocabulary: How many tokens that one knows at most.
        lowercase: Whether it drops case and accents.

    Raises:
        DataError: The library can't load it, or columns are missing or of other kinds.
        ConfigError: Options that make no sense together.
    """
    if (test_file is not None and file is None) or (file is not None and folder is not None):
        raise ConfigError(
            "folder, file and test_file", where=_PURPOSE, allowed="folder, or file with or without test_file"
        )
    library = registry.require("datasets", _PURPOSE)
    data_files = {"train": str(file), "test": str(test_file)} if test_file else str(file) if file else None
    options = {
        "name": config,
        "revision": revision,
        "data_dir": str(folder) if folder else None,
        "data_files": data_files,
    }
    asked = {
        "train": train_split,
        "validation": validation_split,
        "test": test_split or ("test" if test_file else None),
    }
    tables = {name: _open(library, path, split, options) for name, split in asked.items() if split}
    names = tuple(classes) if classes else _names(tables["train"], labels, task)
    picture = (size, channels, fit)
    how = Tokenization(
        length=length,
        longer=longer,
        tokenizer=tokenizer,
        hub_tokenizer=hub_tokenizer,
        revision=tokenizer_revision,
        kind=kind,
        vocabulary=vocabulary,
        lowercase=lowercase,
    )
    splits = {name: _as_split(table, inputs, labels, group, task, names, picture) for name, table in tables.items()}
    train, texts = splits["train"], None
    if pairs:
        check_pairs(inputs, "inputs")
    if _is_text(tables["train"], inputs):
        texts = _texts(tables, inputs, how, pairs=pairs)
        begin = 0
        for name, split in splits.items():  # their texts lie one after another
            splits[name] = replace(split, inputs=split.inputs + begin)
            begin += len(split)
    usual = 1 / 255 if train.inputs.dtype == np.uint8 else 1.0
    return Source(
        train=train,
        validation=splits.get("validation"),
        test=splits.get("test"),
        classes=names,
        scale=usual if scale is None else scale,
        task=task,
        texts=texts,
    )


def _open(library: ModuleType, path: str, split: str, options: dict[str, Any]) -> Any:
    shown = not library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        return library.load_dataset(path, split=split, **options)
    except (
        OSError,  # of which the hub's errors, and no network
        ValueError,
        TypeError,
        RuntimeError,
        LookupError,
        NotImplementedError,
        library.exceptions.DatasetsError,
    ) as error:
        reason = next((line for line in str(error.__cause__ or error).splitlines() if line), type(error).__name__)
        raise DataError(
            f"can't load split '{split}': {reason}",
            where=f"data.path = '{path}'",
            next_step='without the hub: path = "csv" (json, parquet, imagefolder) with file or folder',
        ) from None
    finally:
        if shown:
            library.enable_progress_bars()


def _check_columns(table: Any, columns: tuple[str, ...]) -> None:
    for name in columns:
        if name not in table.column_names:
            raise DataError(
                f"no column '{name}'",
                where=_PURPOSE,
                allowed=", ".join(table.column_names),
                next_step=did_you_mean(name, table.column_names),
            )


def _names(table: Any, labels: tuple[str, ...], task: str) -> tuple[str, ...]:
    _check_columns(table, labels)
    if task == "regression" or len(labels) > 1:
        return labels
    feature = table.features[labels[0]]
    feature = getattr(feature, "feature", feature)  # a list of classes
    if known := getattr(feature, "names", None):
        return tuple(known)
    if task == "multi_label":
        return tuple(str(number) for number in range(_numbers(table, labels).shape[1]))
    return sort_classes([_text(value) for value in table[labels[0]]])


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _as_split(
    table: Any,
    inputs: tuple[str, ...],
    labels: tuple[str, ...],
    group: str | None,
    task: str,
    classes: tuple[str, ...],
    picture: tuple[int, Literal[1, 3], Literal["crop", "stretch"]],
) -> Split:
    if not inputs or not labels or (task == "single_label" and len(labels) > 1):
        raise ConfigError(f"{len(inputs)} input and {len(labels)} label columns for {task}", where=_PURPOSE)
    _check_columns(table, (*inputs, *labels, *([group] if group is not None else [])))
    known: NDArray[np.generic]
    if task != "single_label":
        known = _numbers(table, labels).astype(np.int64 if task == "multi_label" else np.float32)
    elif native := getattr(table.features[labels[0]], "names", None):
        values = [_text(None if value in (None, -1) else native[value]) for value in table[labels[0]]]
        known = number_classes(values, classes, _PURPOSE)
    else:
        known = number_classes([_text(value) for value in table[labels[0]]], classes, _PURPOSE)
    found: NDArray[np.generic]
    if _is_text(table, inputs):
        found = np.arange(len(table))[:, None]
    else:
        found = _pictures(table, inputs[0], *picture) if _is_picture(table, inputs) else _numbers(table, inputs)
    return Split(
        inputs=found,
        labels=known,
        groups=None if group is None else number_groups(list(table[group])),
    )


def _is_text(table: Any, inputs: tuple[str, ...]) -> bool:
    return all(getattr(table.features[name], "dtype", None) in ("string", "large_string") for name in inputs)


def _texts(tables: Mapping[str, Any], inputs: tuple[str, ...], how: Tokenization, *, pairs: bool) -> Texts:
    texts: list[Text] = []
    places: list[str] = []
    for split, table in tables.items():
        columns = [[_text(value).strip() for value in table[name]] for name in inputs]
        texts += [joined(each, pairs=pairs) for each in zip(*columns, strict=True)]
        places += [f"sample {index} of '{split}'" for index in range(len(table))]
    return Texts(texts=texts, places=places, where=_PURPOSE, how=how)


def _is_picture(table: Any, inputs: tuple[str, ...]) -> bool:
    return len(inputs) == 1 and type(table.features[inputs[0]]).__name__ == "Image"


def _pictures(
    table: Any, column: str, size: int, channels: Literal[1, 3], fit: Literal["crop", "stretch"]
) -> NDArray[np.uint8]:
    pillow = registry.require("PIL.Image", _PURPOSE)
    pixels = np.empty((len(table), channels, size, size), np.uint8)
    for index in range(len(table)):
        try:
            pixels[index] = to_square(table[index][column], size, channels, fit, pillow)
        except (OSError, ValueError, SyntaxError, AttributeError, pillow.DecompressionBombError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"not a readable picture ({reason})", where=f"{_PURPOSE}: sample {index}") from None
    return pixels


def _numbers(table: Any, columns: tuple[str, ...]) -> NDArray[np.generic]:
    """Columns of numbers side by side, or one of lists; 64-bit numbers become float32."""
    try:
        parts = [np.asarray(table.with_format(None)[name][:]) for name in columns]
        values = parts[0] if len(parts) == 1 and parts[0].ndim > 1 else np.stack(parts, axis=1)
    except ValueError:
        values = np.empty(0, object)
    if values.dtype.kind not in "biuf" or values.ndim < 2:
        raise DataError(
            f"column '{columns[0]}'", where=_PURPOSE, allowed="numbers, or lists of numbers of one length, none missing"
        )
    stored = getattr(getattr(table.features[columns[0]], "feature", None), "dtype", "")
    return values.astype(np.uint8 if stored == "uint8" else np.float32)
