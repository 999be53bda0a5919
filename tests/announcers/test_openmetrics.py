"""OpenMetrics, as Prometheus' own client reads it."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edgekd.announcers.openmetrics import write
from edgekd.records import Budget, Release
from tests.announcers.verdicts import DROP, EVIL, EVIL_RELEASE, MIXED, check, release_of


def read(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # it has no annotations


def families(release: Release) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = write(release=release)
    assert text.endswith("# EOF\n")
    return {each.name: [(dict(sample.labels), sample.value) for sample in each.samples] for each in read(text)}


def test_it_says_the_verdict_and_what_was_observed_in_base_units() -> None:
    found = families(MIXED)
    assert found["edgekd_release"] == [({}, 0)]
    assert [(labels["status"], value) for labels, value in found["edgekd_checks"]] == [
        ("fail", 2),
        ("unmeasured", 1),
        ("inconclusive", 1),
        ("pass", 1),
        ("waived", 0),
    ]
    assert found["edgekd_file_size_bytes"] == [({"model": "student.fp32.onnx", "target": "file"}, 98_496)]
    assert found["edgekd_latency_seconds"] == [
        ({"model": "student.fp32.onnx", "target": "pi", "statistic": "p90"}, 0.0095)
    ]
    assert found["edgekd_accuracy_drop_ratio"] == [
        ({"model": "student.fp32.onnx", "target": "host", "reference": "teacher"}, 0.012)
    ]
    assert families(release_of(check("pass")))["edgekd_release"] == [({}, 1)]


def test_numbers_are_as_short_as_they_can_be() -> None:
    # GitLab shows them as they are written.
    assert 'edgekd_file_size_bytes{model="student.fp32.onnx",target="file"} 98496\n' in write(release=MIXED)


def test_units_are_those_of_the_names() -> None:
    text = write(release=MIXED)
    named = {each.name: each.unit for each in read(text)}
    assert named["edgekd_latency_seconds"] == "seconds"
    assert named["edgekd_checks"] == ""


def test_points_and_percent_of_the_reference_are_told_apart() -> None:
    relative = Budget(metric="accuracy_drop", limit="2 %")
    found = families(release_of(check("pass", DROP), check("pass", relative)))["edgekd_accuracy_drop_ratio"]
    assert [labels.get("of") for labels, _ in found] == [None, "reference"]


def test_several_budgets_on_one_thing_are_one_sample() -> None:
    other = Budget(metric="file_size", limit="1 MB")
    assert len(families(release_of(check("pass"), check("pass", other)))["edgekd_file_size_bytes"]) == 1


def test_names_stay_names() -> None:
    found = families(EVIL_RELEASE)["edgekd_file_size_bytes"]
    seen = ["".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name) for name in EVIL]
    assert [labels["model"] for labels, _ in found] == seen


def test_no_budgets_is_no_release() -> None:
    assert families(release_of())["edgekd_release"] == [({}, 0)]
