"""SARIF against OASIS' schema, and what code scanning makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no stubs
import pytest

from edgekd.announcers.sarif import write
from edgekd.records import Finding, Release, Run
from tests.announcers.verdicts import EVIL, EVIL_RELEASE, MIXED, PLACES, check, release_of, run_of

SCHEMA = json.loads(Path(__file__).with_name("sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
FINDING = Finding(
    rule="hybrid_operator",
    severity="warning",
    target="cortex-m4",
    what="weights are int8 and activations float",
    next_step="export static_wi8_ai8",
    operator="CONV_2D",
    layer="#3",
    model="student.fp32.onnx",
)


def written(release: Release, run: Run) -> Any:
    text = write(release=release, run=run, places=PLACES)
    text.encode()  # no halves of characters
    log = json.loads(text)
    jsonschema.Draft7Validator(SCHEMA).validate(log)
    (only,) = log["runs"]
    return only


def test_what_keeps_a_release_back_is_there_worst_first_and_passes_are_not() -> None:
    results = written(MIXED, run_of("student.fp32.onnx"))["results"]
    assert [(each["ruleId"], each["properties"]["status"]) for each in results] == [
        ("budget/accuracy_drop", "fail"),
        ("budget/accuracy_drop", "fail"),
        ("budget/parity", "unmeasured"),
        ("budget/latency", "inconclusive"),
    ]
    assert {each["level"] for each in results} == {"error"}
    assert results[3]["message"]["text"] == ("inconclusive: latency p90 at most 10 ms: about 40 more runs would decide")


def test_results_are_at_the_file_and_lead_to_the_budget() -> None:
    result = written(MIXED, run_of("student.fp32.onnx"))["results"][3]
    (file,) = result["locations"]
    assert file["physicalLocation"]["artifactLocation"]["uri"] == "runs/digits/export/student.fp32.onnx"
    (budget,) = result["relatedLocations"]
    assert budget["physicalLocation"]["artifactLocation"]["uri"] == "budgets.toml"
    assert budget["physicalLocation"]["region"] == {"startLine": 5}


def test_without_a_file_the_budget_is_the_place() -> None:
    (result,) = written(release_of(check("unmeasured", model="", target="")), run_of())["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "budgets.toml"


def test_findings_of_lint_are_there_with_their_layer() -> None:
    found = written(release_of(check("pass")), run_of("student.fp32.onnx", findings=(FINDING,)))
    (result,) = found["results"]
    assert (result["ruleId"], result["level"]) == ("lint/hybrid_operator", "warning")
    assert result["message"]["text"].startswith("cortex-m4: CONV_2D #3: weights are int8")
    assert result["locations"][0]["logicalLocations"] == [{"name": "#3", "kind": "member"}]
    (rule,) = found["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"]


def test_a_finding_of_a_rule_that_is_not_installed_has_a_rule_all_the_same() -> None:
    found = written(release_of(check("pass")), run_of(findings=(replace(FINDING, rule="their_rule"),)))
    assert found["tool"]["driver"]["rules"][0]["shortDescription"] == {"text": "Lint: their rule"}


def test_every_result_has_a_rule_with_the_texts_that_code_scanning_wants() -> None:
    found = written(MIXED, run_of("student.fp32.onnx", findings=(FINDING,)))
    rules = {rule["id"]: rule for rule in found["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in found["results"]} == set(rules)
    assert all(rule[key]["text"] for rule in rules.values() for key in ("shortDescription", "fullDescription", "help"))


def test_fingerprints_tell_results_apart_and_stay_when_numbers_change() -> None:
    def prints(release: Release) -> list[str]:
        results = written(release, run_of("student.fp32.onnx", findings=(FINDING,)))["results"]
        return [each["partialFingerprints"]["primaryLocationLineHash"] for each in results]

    later = release_of(*(replace(each, observed=1.0, reason="another time") for each in MIXED.checks))
    assert prints(MIXED) == prints(later)
    # Two teachers' drops of one file are one alert.
    assert len(set(prints(MIXED))) == len(prints(MIXED)) - 1


def test_no_budgets_is_a_result() -> None:
    (result,) = written(release_of(), run_of())["results"]
    assert (result["ruleId"], result["level"]) == ("budgets/none", "error")


def test_names_stay_names() -> None:
    found = written(EVIL_RELEASE, run_of(*EVIL))
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in found["results"]]
    assert len(uris) == len(EVIL)
    assert not [uri for uri in uris if set(uri) & set(' <>|\n"`\\')]


def test_the_schema_refuses_what_is_none() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate({"version": "2.1.0", "runs": [{"results": []}]})
