"""Texts of the user's own with labels: a table, labelled lines, or lines without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.datasets._labels import number_classes, sort_classes
from edgekd.datasets._places import find
from edgekd.datasets._splits import UNLABELLED
from edgekd.datasets._table import parse_number
from edgekd.datasets._text_files import Read, check_pairs, read_texts
from edgekd.datasets._texts import Texts, Tokenization, tokenizer_files
from edgekd.errors import ConfigError, DataError

_OTHERS = {"validation": "validation_path", "test": "test_path"}


def load(
    *,
    path: Path,
    layout: Literal["csv", "tsv", "labelled_lines", "lines"] = "csv",
    text: tuple[str, ...] = ("text",),
    pairs: bool = False,
    label: str | None = "label",
    header: bool = True,
    fine: bool = False,
    validation_path: Path | None = None,
    test_path: Path | None = None,
    task: Literal["single_label", "regression"] = "single_label",
    classes: tuple[str, ...] | None = None,
    first_class: int | None = None,
    vectors: Path | None = None,
    length: int = 128,
    longer: Literal["cut", "refuse"] = "cut",
    tokenizer: Path | None = None,
    hub_tokenizer: str | None = None,
    tokenizer_revision: str = "main",
    kind: Literal["wordpiece", "bpe", "word"] = "wordpiece",
    vocabulary: int = 8000,
    lowercase: bool = True,
    encoding: str = "utf-8",
) -> Source:
    r"""Load texts, which become tokens when the splits are drawn.

    A tokenizer that is trained here learns from the training split's texts alone: the source gives texts, and
    `edgekd.datasets.open_dataset` draws its splits before it makes tokens of them.

    Args:
        path: The training samples; a relative path is also looked for in the folders of `EDGEKD_DATA`.
        layout: `csv`; `tsv`, in which quotes are nothing special; `labelled_lines`: the first word is the label, as in
            TREC (`COARSE:fine question`); `lines`: texts without labels, for `[transfer]`.
        text: Columns of a table that make the text, joined by spaces.
        pairs: Keep two such columns apart, as tasks on pairs of sentences do (STS-B, MRPC, QNLI): the tokenizer puts
            them together by its own template, [CLS] A [SEP] B [SEP] of BERT's, and of two texts that are too long
            the longer one is cut. Numbers of segments (`token_type_ids`) are none of the data: edgekd's networks
            find the second text by what is between the two, and a BERT teacher is given segment 0 everywhere.
        label: Its column of labels; a number for `regression`.
        header: Whether its first line names the columns; else they are called 1, 2, 3.
        fine: Of labelled lines: take all of the label, not what is before its colon.
        validation_path: Samples for choices; else a share of the training samples is held out.
        test_path: Samples kept for the end; else a share is held out.
        task: What is learned.
        classes: Names, in an order of one's own; else the labels that occur.
        first_class: The number of the first of `classes`, where labels are numbers: 1 in AG News.
        vectors: For `regression`, in place of a label: `.npy` of (N, D) floats, such as another encoder's embeddings
            of these texts, in their order.
        length: Tokens of a sample; shorter texts are filled up.
        longer: `cut` longer texts, and say how many; or `refuse` them.
        tokenizer: A `tokenizer.json`, BERT's `vocab.txt`, or a folder that `save_pretrained` wrote, such as the
            teacher's.
        hub_tokenizer: A tokenizer's name on the hub.
        tokenizer_revision: Branch, tag or commit on the hub; a commit can't change.
        kind: Of tokenizer to train where none is given.
        vocabulary: How many tokens that one knows at most.
        lowercase: Whether it drops case and accents.
        encoding: Of the files.

    Returns:
        A source whose inputs are the numbers of its texts.

    Raises:
        DataError: Files that are not as described, with the line; empty texts; labels that are no classes.
        ConfigError: Options that make no sense together.

    >>> import tempfile
    >>> from edgekd.datasets import open_dataset
    >>> from edgekd.records import DataSpec
    >>> file = Path(tempfile.mkdtemp()) / "own.csv"
    >>> _ = file.write_text("text,label\n" + "good film,1\nbad film,0\n" * 10)
    >>> data = open_dataset(DataSpec(source="text", options={"path": file, "kind": "word", "length": 5}))
    >>> data.classes, data.input_shape, data.tokens.vocabulary
    (('0', '1'), (5,), 8)
    """
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
    if pairs:
        if layout not in ("csv", "tsv"):
            raise ConfigError(f"pairs in {layout}", where="data.pairs", allowed="the layouts csv and tsv")
        check_pairs(text, "text")
    _check(layout, label, task, vectors, {"validation": validation_path, "test": test_path})
    if first_class is not None and classes is None:
        raise ConfigError("first_class without classes", where="data.first_class", next_step="name the classes")
    label = None if vectors is not None else label
    places = {"train": (path, "path")}
    places |= {
        name: (each, _OTHERS[name]) for name, each in (("validation", validation_path), ("test", test_path)) if each
    }
    found = {name: find(each, key) for name, (each, key) in places.items()}
    read = {
        name: read_texts(
            file,
            layout=layout,
            text=text,
            pairs=pairs,
            label=label,
            header=header,
            fine=fine,
            encoding=encoding,
        )
        for name, file in found.items()
    }
    given = None if vectors is None else _read_vectors(find(vectors, "vectors"), len(read["train"].texts))
    names = _names(read["train"], layout, label, task, classes, given)
    splits, begin = {}, 0
    for name, each in read.items():
        numbers = np.arange(begin, begin + len(each.texts))[:, None]
        begin += len(each.texts)
        labels = given if given is not None else _labels(each, names, task, first_class, found[name])
        splits[name] = Split(inputs=numbers, labels=labels)
    several = len(read) > 1
    return Source(
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
        classes=names,
        scale=1.0,
        task=task,
        texts=Texts(
            texts=[text for each in read.values() for text in each.texts],
            places=[
                f"line {line}" + f" of {found[name].name}" * several
                for name, each in read.items()
                for line in each.lines
            ],
            where=str(found["train"]),
            how=how,
        ),
    )


def files(
    *,
    path: Path,
    validation_path: Path | None = None,
    test_path: Path | None = None,
    vectors: Path | None = None,
    tokenizer: Path | None = None,
    **_: object,
) -> list[Path]:
    """The texts, and what is made of them by."""
    others = {"validation_path": validation_path, "test_path": test_path, "vectors": vectors}
    return [
        find(path),
        *(find(each, key) for key, each in others.items() if each is not None),
        *tokenizer_files(tokenizer),
    ]


def _check(layout: str, label: str | None, task: str, vectors: Path | None, others: dict[str, Path | None]) -> None:
    given = [name for name, path in others.items() if path is not None]
    if vectors is not None and (task != "regression" or given):
        raise ConfigError(
            f"vectors with {_OTHERS[given[0]] if given else f'the task {task}'}",
            where="data.vectors",
            allowed="the task regression, and splits that are held out",
        )
    if layout == "lines" and task == "regression" and vectors is None:
        raise ConfigError("lines have no labels", where="data.layout", next_step="give vectors, or a table")
    if layout in ("csv", "tsv") and label is None and task == "regression" and vectors is None:
        raise ConfigError("regression without labels", where="data.label", allowed="a column of numbers, or vectors")


def _names(
    read: Read, layout: str, label: str | None, task: str, classes: tuple[str, ...] | None, vectors: Any
) -> tuple[str, ...]:
    if task == "regression":
        return tuple(str(number) for number in range(vectors.shape[1])) if vectors is not None else (label or "label",)
    return tuple(classes) if classes else () if layout == "lines" else sort_classes(read.labels)


def _labels(
    read: Read, classes: tuple[str, ...], task: str, first_class: int | None, path: Path
) -> NDArray[np.generic]:
    if task == "regression":
        rows = zip(read.lines, read.labels, strict=True)
        values = [[parse_number(label, f"line {line}, its label", str(path))] for line, label in rows]
        return np.array(values, np.float32)
    if first_class is None:
        return number_classes(read.labels, classes, str(path))
    numbers = {str(first_class + index): index for index in range(len(classes))} | {"": UNLABELLED}
    for line, label in zip(read.lines, read.labels, strict=True):
        if label not in numbers:
            raise DataError(
                f"line {line}: label '{label}' is no class",
                where=str(path),
                allowed=f"{first_class} to {first_class + len(classes) - 1}",
                next_step="check data.classes and data.first_class",
            )
    return np.array([numbers[label] for label in read.labels], np.int64)


def _read_vectors(path: Path, count: int) -> NDArray[np.float32]:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"no array can be read: {reason}", where=str(path), allowed=".npy of floats, no pickles"
        ) from None
    if getattr(found, "ndim", 0) != 2 or found.dtype.kind != "f" or len(found) != count:
        shape = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise DataError(shape, where=str(path), allowed=f"floats of shape ({count}, D): a row for each text")
    return np.asarray(found, np.float32)
