"""The file of a baseline, there and back, and what is refused."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgekd.errors import StoreError
from edgekd.pipeline.baseline.file import FORMAT, decode, encode, thin
from edgekd.records import Baseline, Budget, Change, Check, Conditions, Measurement, Release, ReleasedFile, Stretch
from edgekd.store import fingerprint

RANDOM = np.random.default_rng(7)
CHECK = Check(
    budget=Budget(metric="file_size", limit="1 kB"),
    model="a.onnx",
    target="file",
    unit="B",
    limit=1000.0,
    observed=10.0,
    low=10.0,
    high=10.0,
    status="pass",
    reason="fits",
)


def measured(file: ReleasedFile, metric: str, target: str, samples: Any, **more: Any) -> Measurement:
    return Measurement(
        model_sha256=file.sha256,
        model=file.name,
        format=file.format,
        precision=file.precision,
        role="student",
        target=target,
        metric=metric,
        unit="",
        samples=tuple(map(float, samples)),
        **more,
    )


def release(files: int, targets: int, samples: int) -> Baseline:
    """A baseline with accuracy and latency, and a few single numbers, of files on targets."""
    found: list[Measurement] = []
    models = tuple(
        ReleasedFile(
            name=f"m{number}.tflite",
            format="tflite",
            precision="fp32",
            sha256=f"{number:064x}",
            size_bytes=100,
            path=f"runs/x/export/m{number}.tflite",
            operators={"ADD": 2},
        )
        for number in range(files)
    )
    for file in models:
        right = (RANDOM.random(samples) < 0.9).astype(float)
        found.append(measured(file, "file_size", "file", [100.0]))
        for number in range(targets):
            conditions = Conditions(host=f"h{number}", runtime="litert", runtime_version="2.1", load_before=0.5)
            # Some targets compute a little otherwise.
            right[number * 7 % samples] = 1 - right[number * 7 % samples]
            latency = np.rint(RANDOM.lognormal(0, 0.05, samples) * 500_000) / 1e9
            for metric, values in (("accuracy", right), ("latency", latency), ("peak_memory", [1e6])):
                given = measured(file, metric, f"t{number}", values, conditions=conditions, warmup=(1.0, 2.0))
                found.append(thin(given))
    return Baseline(
        name="clouds",
        commit="c0ffee",
        recipe='name = "clouds"\n',
        overrides=("distill.epochs=3",),
        data="d1",
        teachers={"teacher-0": "7e"},
        files=models,
        measurements=tuple(found),
        release=Release(model_sha256s=("1f",), checks=(CHECK,), changes=(Change(what="a", before="b", after="c"),)),
    )


def changed(baseline: Baseline, **keys: Any) -> bytes:
    """The file with other keys and the right hash."""
    table = json.loads(encode(baseline)) | keys
    del table["sha256"]
    return json.dumps(table | {"sha256": fingerprint(table)}).encode()


def refused(content: bytes) -> str:
    with pytest.raises(StoreError) as caught:
        decode(content, "b.json")
    message = str(caught.value)
    assert message.startswith("b.json: ")
    assert message.isprintable()
    return message


def test_everything_comes_back() -> None:
    given = release(2, 2, 50)
    odd = (0.1, float("inf"), 1e300, *range(20))
    labelled = measured(given.files[0], "auc", "t0", odd, labels=tuple(float(each % 2) for each in range(23)))
    given = replace(given, measurements=(*given.measurements, labelled))
    assert decode(encode(given), "b.json") == given


def test_equal_baselines_are_equal_bytes_and_a_diff_shows_what_changed() -> None:
    given = release(2, 2, 50)
    text = encode(given)
    assert encode(decode(text, "")) == text
    size = next(number for number, each in enumerate(given.measurements) if each.metric == "file_size")
    grown = list(given.measurements)
    grown[size] = replace(grown[size], samples=(101.0,))
    lines, others = (each.decode().splitlines() for each in (text, encode(replace(given, measurements=tuple(grown)))))
    differing = [line for line, other in zip(lines, others, strict=True) if line != other]
    assert len(differing) == 2  # the measurement, and the hash
    assert '"sha256"' in differing[0]
    assert '"samples": [100.0]' in differing[1]


def test_no_later_gate_needs_what_is_left_out() -> None:
    file = release(1, 1, 5).files[0]
    conditions = Conditions(host="pi", temperature_before_c=40.0, load_before=0.3, frequencies_during_hz=(1,))
    course = (Stretch(start_s=0.0, samples=(1.0,)),)
    given = measured(file, "latency", "pi", range(10_000), warmup=(1.0,), course=course, conditions=conditions)
    kept = thin(given)
    assert (kept.warmup, kept.course, kept.conditions) == ((), (), Conditions(host="pi"))
    assert kept.samples == tuple(float(each) for each in range(0, 10_000, 10))
    paired = measured(file, "accuracy", "pi", [0.0, 1.0] * 5_000)
    assert thin(paired) == paired


def test_twenty_files_on_five_targets_with_ten_thousand_samples_are_small() -> None:
    given = release(20, 5, 10_000)
    started = time.perf_counter()
    content = encode(given)
    tracemalloc.start()
    found = decode(content, "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == given
    assert len(content) < 700_000
    assert peak < 100e6
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON, or was cut off"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nsecret", "not JSON, or was cut off"),
        (b"\xff\xfe\x00", "not JSON, or was cut off"),
        (b"[" * 100_000, "not JSON, or was cut off"),
        (b"1" * 10_000, "not JSON, or was cut off"),
        (b"[]", "no baseline; allowed: what `edgekd promote` wrote"),
        (b'{"edgekd_manifest": 2}', "no baseline; allowed: what `edgekd promote` wrote"),
        (b'{"edgekd_baseline": 2}', "a baseline of format 2; allowed: 1; promote the run again by this edgekd"),
        (b'{"edgekd_baseline": "\\u001b[2J"}', "a baseline of format '\\x1b[2J'"),
        (b'{"edgekd_baseline": 1}', "changed since it was written"),
    ],
)
def test_what_is_none_is_refused_and_not_repeated(content: bytes, words: str) -> None:
    assert words in refused(content)
    assert "secret" not in refused(content)


def test_an_edit_is_found_and_so_is_a_cut() -> None:
    content = encode(release(1, 1, 50))
    assert "changed since it was written" in refused(content.replace(b'"samples": [100.0]', b'"samples": [99.0]'))
    assert "changed since it was written" in refused(content.replace(b'"status": "pass"', b'"status": "fail"'))
    assert "was cut off" in refused(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"arrays": {}}, "a part of it is missing"),
        ({"files": []}, "a part of it is missing"),
        ({"files": 3}, "a part of it is missing"),
        ({"name": 7}, "name: "),
        ({"measurements": [{"model": "m0.tflite"}]}, "a part of it is missing"),
        ({"arrays": {"a": {"kind": "bits", "count": 10**9, "data": ""}}}, "more than 20000000 numbers"),
        ({"arrays": {"a": {"kind": "bits", "count": -(10**9), "data": ""}}}, "-1000000000 numbers"),
        ({"arrays": {"a": {"kind": "bits", "count": 5, "data": "eJwDAAAAAAE="}}}, "not the 5 numbers"),
        ({"arrays": {"a": {"kind": "lists", "count": 5, "data": ""}}}, "a.kind"),
    ],
)
def test_what_has_the_right_hash_but_makes_no_sense_is_refused(keys: dict[str, Any], words: str) -> None:
    assert words in refused(changed(release(1, 1, 50), **keys))


def test_the_format_is_the_one_that_formats_md_describes() -> None:
    table = json.loads(encode(release(1, 1, 50)))
    assert table["edgekd_baseline"] == FORMAT == 1
    sha256 = table.pop("sha256")
    assert sha256 == fingerprint(table)
