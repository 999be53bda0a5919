from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from edgekd import store
from edgekd.errors import StoreError
from edgekd.measurements import parse_measurements, read_measurements
from edgekd.records import Measurement

FEW = Measurement(
    model_sha256="5e1f",
    model="m",
    format="onnx",
    precision="fp32",
    role="student",
    target="host",
    metric="latency",
    unit="s",
    samples=(0.1, 0.2),
)
RANDOM = np.random.default_rng(0)
MANY = Measurement(
    model_sha256="5e1f",
    model="m",
    format="onnx",
    precision="fp32",
    role="student",
    target="host",
    metric="recall",
    unit="1",
    samples=tuple(RANDOM.random(1000).tolist()),
    labels=tuple(RANDOM.integers(0, 10, 1000).astype(float).tolist()),
    warmup=tuple(RANDOM.random(300).tolist()),
)


def test_measurements_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "measurements.json"
    store.write_json(file, [FEW, MANY])
    first, second = read_measurements(file)
    assert (first, second) == (FEW, MANY)
    assert type(second.samples[0]) is float
    assert second.values.tolist() == list(MANY.samples)
    assert store.fingerprint_of(second) == store.fingerprint_of(MANY)


def test_only_many_numbers_are_packed(tmp_path: Path) -> None:
    store.write_json(tmp_path / "measurements.json", [FEW, MANY])
    few, many = json.loads((tmp_path / "measurements.json").read_text())
    assert few["samples"] == [0.1, 0.2]
    assert [list(many[key]) for key in ("samples", "labels", "warmup")] == [["floats"], ["bytes"], ["floats"]]


def test_numbers_that_are_text_are_read_too() -> None:
    text = json.dumps([json.loads(json.dumps(store.to_json(MANY)))], indent=1).encode()
    assert list(parse_measurements(io.BytesIO(text), "here")) == [MANY]


def test_what_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "measurements.json"
    store.write_json(file, [FEW, MANY])
    assert list(read_measurements(file, wanted=lambda text: b"recall" not in text)) == [FEW]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"model": 1', "here: record 0: not what edgekd wrote: file: Invalid JSON"),
        ("[\n[]\n]\n", "here: record 0: not what edgekd wrote: file: Input should be"),
        ("[\n{}\n]\n", "here: record 0: not what edgekd wrote: model_sha256: Field required"),
        ('[\n{"samples":{"floats":"*"}}\n]\n', "here: record 0: 'floats' that can't be unpacked"),
        ('[\n{"samples":{"floats":""}}\n]\n', "here: record 0: not what edgekd wrote: model_sha256: Field required"),
        ("[\n", "here: not what edgekd wrote: it has no end"),
        ("{}", "here: not what edgekd wrote"),
    ],
)
def test_damage_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        list(parse_measurements(io.BytesIO(text.encode()), "here"))
