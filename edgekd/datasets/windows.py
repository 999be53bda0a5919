"""Windows of time series: a .ts file, a .csv with a row a step of time, or a text file with a line a series."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.datasets._labels import NORMAL_AND_ANOMALY, mark_anomalies, number_classes, number_groups, sort_classes
from edgekd.datasets._places import find
from edgekd.datasets._series import Series, Windows, cut, read_long, read_matrix, read_ts
from edgekd.datasets._table import parse_number
from edgekd.errors import ConfigError


def load(
    *,
    path: Path,
    test_path: Path | None = None,
    window: int | None = None,
    hop: int | None = None,
    padding: Literal["zero", "edge"] = "zero",
    layout: Literal["channels", "flat", "image"] = "channels",
    task: Literal["single_label", "regression", "reconstruction"] = "single_label",
    classes: tuple[str, ...] | None = None,
    normal: str | None = None,
    series: str = "series",
    channels: tuple[str, ...] = (),
    label: str = "label",
    group: str | None = None,
    delimiter: str = ",",
    standardise: bool = True,
) -> Source:
    r"""Load time series and cut them into windows; the windows of one series are never in two splits.

    Args:
        path: By its suffix: `.ts` as sktime and aeon write it; `.csv`: a row for each step of time; any other: a
            line for each series, label first (UCR). A relative one is also looked for in the folders of `EDGEKD_DATA`.
        test_path: Series kept for the end, in the same format.
        window: Length; whole series by default, shorter ones padded to the longest of `path`, longer ones cut.
        hop: From one window to the next; `window` by default. Steps at the end that fill no window are left out.
        padding: What follows a series that is shorter than a window: zeros, or its last value.
        layout: `channels` (N, C, T); `flat` (N, C T), channel after channel; `image` (N, C, 1, T), for
            networks of two-dimensional convolutions.
        task: What is learned.
        classes: Their names, in an order of one's own.
        normal: For reconstruction: the label of normal series; a window with any other step in it is an anomaly.
        series: For .csv: column that says to which series a row belongs.
        channels: For .csv: columns of values; all others by default.
        label: For .csv: column of labels, or `none`. A window's is the most frequent of its steps, or their mean.
        group: For .csv: column that says what series belong together (a patient).
        delimiter: For .csv.
        standardise: Give each channel (with `flat`, each value) mean 0 and deviation 1 over the training split.

    Raises:
        DataError: A file that is not as described; says the line.
        ConfigError: A window that is none.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "own.txt"
    >>> _ = file.write_text("1 10 11 12 13\n2 20 21 22 23\n")
    >>> load(path=file, window=2).train.inputs.tolist()
    [[[10.0, 11.0]], [[12.0, 13.0]], [[20.0, 21.0]], [[22.0, 23.0]]]
    """
    for key, value in (("window", window), ("hop", hop)):
        if value is not None and value < 1:
            raise ConfigError(f"{key} = {value}", where="dataset windows", allowed="at least 1")
    paths = files(path=path, test_path=test_path)
    parts: list[list[Series]] = []
    for each in paths:
        if each.suffix.lower() == ".csv":
            parts.append(
                read_long(each, series=series, channels=channels, label=label, group=group, delimiter=delimiter)
            )
        else:
            parts.append(read_ts(each) if each.suffix.lower() == ".ts" else read_matrix(each))
    length = window or max(each.values.shape[1] for each in parts[0])
    step = hop or length
    windows = [cut(part, length, step, padding) for part in parts]
    names = tuple(classes or ())
    if task == "reconstruction":
        names = NORMAL_AND_ANOMALY
    elif task == "regression":
        names = names or (label if paths[0].suffix.lower() == ".csv" else "target",)
    elif not names:
        names = sort_classes([name for part in windows for labels in part.labels for name in labels])
    splits = [
        Split(
            inputs=_lay_out(cut_part.values, layout),
            labels=_label(cut_part, task, names, normal, str(file)),
            groups=_group(part, cut_part),
        )
        for file, part, cut_part in zip(paths, parts, windows, strict=True)
    ]
    return Source(
        train=splits[0],
        test=splits[1] if len(splits) > 1 else None,
        classes=names,
        scale=1.0,
        task=task,
        front_end={"window": length, "hop": step, "padding": padding, "layout": layout, "channels": list(channels)},
        standardise=1 if standardise else None,
    )


def files(*, path: Path, test_path: Path | None = None, **_: object) -> list[Path]:
    """The files."""
    return [find(path), *([find(test_path, "test_path")] if test_path is not None else [])]


def _lay_out(values: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
    if layout == "flat":
        return values.reshape(len(values), -1)
    return values[:, :, None] if layout == "image" else values


def _label(
    windows: Windows, task: str, classes: tuple[str, ...], normal: str | None, where: str
) -> NDArray[np.generic]:
    if task == "reconstruction":
        # One step that is not normal makes an anomaly.
        names = [next((name for name in labels if name != normal), labels[0]) for labels in windows.labels]
        return mark_anomalies(names, normal, where)
    if task == "regression":
        means = [
            [sum(parse_number(each, "label", where) for each in labels) / len(labels)] for labels in windows.labels
        ]
        return np.array(means, np.float32)
    return number_classes([_most_frequent(labels) for labels in windows.labels], classes, where)


def _most_frequent(labels: tuple[str, ...]) -> str:
    """Of equally frequent ones, the first in the order of their names, so that it never depends on chance."""
    counts = Counter(labels)
    return min(counts, key=lambda name: (-counts[name], name))


def _group(series: list[Series], windows: Windows) -> NDArray[np.int64] | None:
    if all(each.group is not None for each in series):
        return number_groups([each.group for each in series])[windows.series]
    # Where each series is one sample, nothing can leak, and splits may be even over the classes.
    return windows.series if len(windows.series) > len(series) else None
