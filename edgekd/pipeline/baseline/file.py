"""The file of a baseline: one line for each measurement and array, so that a diff shows what changed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.errors import StoreError
from edgekd.pipeline.baseline.arrays import MOST_NUMBERS, Packed, Shelf, unpack
from edgekd.records import Baseline, Conditions, Measurement

FORMAT = 1  # raised when a key changes its meaning
MOST_BYTES = 64 * 2**20
# Metrics whose samples nothing pairs with those of another file: a quantile is all that is looked at.
_SCATTERS = ("latency", "sustained_latency")
_QUANTILE_SAMPLES = 1000
_INLINE = 16
_NUMBERS = ("samples", "labels")
# Tables whose entries are a line each.
_ROWS, _NAMED_ROWS = ("measurements", "files", "checks", "changes"), ("conditions", "arrays")
# Of a measurement, what its file says for all of them.
_OF_THE_FILE = {"model_sha256", "format", "precision", "role", "warmup", "course", "conditions", "samples", "labels"}


def thin(measurement: Measurement) -> Measurement:
    """Leave out what no later gate looks at: warm-up, the course, what a thermometer said, most samples of quantiles.

    Samples that are paired with those of the next release stay, all of them and in order.

    >>> one = Measurement(model_sha256="", model="a", format="onnx", precision="fp32", role="student", target="host",
    ...     metric="latency", unit="s", samples=tuple(map(float, range(5000))))
    >>> len(thin(one).samples), thin(one).samples[:2]
    (1000, (0.0, 5.0))
    """
    samples = measurement.samples
    if measurement.metric in _SCATTERS and len(samples) > _QUANTILE_SAMPLES:
        step = len(samples) / _QUANTILE_SAMPLES
        samples = tuple(samples[math.floor(index * step)] for index in range(_QUANTILE_SAMPLES))
    kept = ("os", "steady", *Conditions.MUST_AGREE)
    conditions = Conditions(**{name: getattr(measurement.conditions, name) for name in kept})
    return dataclasses.replace(measurement, samples=samples, warmup=(), course=(), conditions=conditions)


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline whole or not at all; equal ones give equal bytes.

    Raises:
        StoreError: It can't be written.
    """
    store.write_bytes(path, encode(baseline))


def encode(baseline: Baseline) -> bytes:
    """Give the bytes of a baseline's file."""
    shelf = Shelf()
    conditions: dict[str, dict[str, Any]] = {}
    lines = []
    for each in baseline.measurements:
        told = _without_defaults(each.conditions)
        name = store.fingerprint(told)[:16]
        conditions[name] = told
        line = {key: value for key, value in store.to_json(each).items() if key not in _OF_THE_FILE}
        lines.append(line | {"conditions": name, **_samples("samples", each.samples, shelf)})
        lines[-1] |= _samples("labels", each.labels, shelf) if each.labels else {}
    table = store.to_json(baseline) | {
        "edgekd_baseline": FORMAT,
        "measurements": lines,
        "conditions": dict(sorted(conditions.items())),
        "arrays": dict(sorted(shelf.arrays.items())),
    }
    table = {"edgekd_baseline": FORMAT, "sha256": _hash(table), **table}
    return _text(table).encode()


def decode(content: bytes, where: str) -> Baseline:
    """Read the bytes of a baseline's file.

    Args:
        content: At most `MOST_BYTES`, which whoever got them has seen to.
        where: For messages.

    Raises:
        StoreError: No such file, of another version, or changed since it was written.
    """
    again = "promote the run again"
    try:
        table = json.loads(content)
    except (ValueError, RecursionError):
        raise StoreError("no baseline: it is not JSON, or was cut off", where=where, next_step=again) from None
    if not isinstance(table, dict) or "edgekd_baseline" not in table:
        raise StoreError("no baseline", where=where, allowed="what `edgekd promote` wrote") from None
    version = table["edgekd_baseline"]
    if version != FORMAT:
        raise StoreError(
            f"a baseline of format {version!r}"[:60],
            where=where,
            allowed=str(FORMAT),
            next_step="promote the run again by this edgekd, or gate with the one that wrote it",
        )
    if table.get("sha256") != _hash(table):
        raise StoreError(
            "changed since it was written: its hash is another",
            where=where,
            next_step=f"bring the file back, or {again}",
        )
    try:
        return _baseline(table)
    except StoreError as error:
        raise StoreError(f"no baseline: {error.what}", where=where, next_step=again) from None


def _baseline(table: dict[str, Any]) -> Baseline:
    from pydantic import TypeAdapter, ValidationError

    try:
        packed = TypeAdapter(dict[str, Packed]).validate_python(table["arrays"])
        if sum(max(each.count, 0) for each in packed.values()) > MOST_NUMBERS:
            raise StoreError(f"more than {MOST_NUMBERS} numbers")
        arrays = {name: unpack(each) for name, each in packed.items()}
        files = {file["name"]: file for file in table["files"]}
        lines = table["measurements"]
        measured = [_whole(line, files, table["conditions"]) for line in lines]
        fields = {field.name: table[field.name] for field in dataclasses.fields(Baseline) if field.name in table}
        baseline = TypeAdapter(Baseline).validate_python(fields | {"measurements": measured})
        whole = [_with_arrays(each, line, arrays) for each, line in zip(baseline.measurements, lines, strict=True)]
        return dataclasses.replace(baseline, measurements=tuple(whole))
    except (KeyError, TypeError, AttributeError):
        raise StoreError("a part of it is missing, or of another kind") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise StoreError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _whole(line: Mapping[str, Any], files: Mapping[str, Any], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """A measurement with what its file and its conditions say, but without what is on the shelf."""
    file = files[line["model"]]
    return {
        **{key: value for key, value in line.items() if not _is_name(line, key)},
        "samples": () if _is_name(line, "samples") else line["samples"],
        "model_sha256": file["sha256"],
        "format": file["format"],
        "precision": file["precision"],
        "role": "student",
        "conditions": conditions[line["conditions"]],
    }


def _with_arrays(
    measurement: Measurement, line: Mapping[str, Any], arrays: Mapping[str, tuple[float, ...]]
) -> Measurement:
    """A measurement with what is on the shelf; not before it was checked, since a check copies."""
    samples = arrays[line["samples"]] if _is_name(line, "samples") else measurement.samples
    labels = arrays[line["labels"]] if _is_name(line, "labels") else measurement.labels
    return dataclasses.replace(measurement, samples=samples, labels=labels)


def _is_name(line: Mapping[str, Any], key: str) -> bool:
    return key in _NUMBERS and isinstance(line.get(key), str)


def _samples(key: str, numbers: tuple[float, ...], shelf: Shelf) -> dict[str, Any]:
    """A few numbers as they are, which people can read; more of them on the shelf."""
    is_plain = len(numbers) <= _INLINE and all(map(math.isfinite, numbers))
    return {key: list(numbers) if is_plain else shelf.put(numbers)}


def _without_defaults(conditions: Conditions) -> dict[str, Any]:
    neutral = Conditions()
    told: dict[str, Any] = store.to_json(conditions)
    return {key: value for key, value in told.items() if getattr(conditions, key) != getattr(neutral, key)}


def _hash(table: Mapping[str, Any]) -> str:
    return store.fingerprint({key: value for key, value in table.items() if key != "sha256"})


def _text(table: Mapping[str, Any], depth: int = 0) -> str:
    """JSON, a line for each entry of long tables."""
    indent = " " * (depth + 1)
    parts = []
    for key, value in table.items():
        if key in _ROWS and value:
            text = f"[\n{indent} " + f",\n{indent} ".join(map(_compact, value)) + f"\n{indent}]"
        elif key in _NAMED_ROWS and value:
            rows = (f"{json.dumps(name)}: {_compact(each)}" for name, each in value.items())
            text = f"{{\n{indent} " + f",\n{indent} ".join(rows) + f"\n{indent}}}"
        elif key == "release" and value:
            text = _text(value, depth + 1)
        else:
            text = json.dumps(value, indent=1, allow_nan=False).replace("\n", f"\n{indent}")
        parts.append(f"{indent}{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n" + " " * depth + ("}" if depth else "}\n")


def _compact(value: object) -> str:
    return json.dumps(value, allow_nan=False)
