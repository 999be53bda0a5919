"""JUnit XML against Jenkins' schema, and as readers see it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from edgekd.announcers.junit import write
from edgekd.records import Release
from tests.announcers.verdicts import EVIL, EVIL_RELEASE, MIXED, check, release_of, run_of

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).with_name("junit-10.xsd")))


def written(release: Release) -> ET.Element:
    text = write(release=release, run=run_of())
    SCHEMA.validate(text)
    return ET.fromstring(text.encode())  # noqa: S314 - our own


def test_all_but_a_pass_is_a_failure() -> None:
    found = written(MIXED)
    kinds = [
        (case.get("classname"), getattr(case.find("failure"), "attrib", {}).get("type"))
        for case in found.iter("testcase")
    ]
    assert kinds == [
        ("student.fp32.onnx", None),
        ("student.fp32.onnx", "inconclusive"),
        ("student.fp32.onnx", "fail"),
        ("no file", "unmeasured"),
        ("student.fp32.onnx", "fail"),
    ]
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("5", "4", "0")


def test_a_failure_says_why_and_what_was_observed() -> None:
    failure = written(MIXED).findall(".//failure")[0]
    assert failure.get("message") == "about 40 more runs would decide"
    assert (failure.text or "").splitlines() == [
        "about 40 more runs would decide",
        "observed: 9.5 ms",
        "interval: 8.55 ms to 10.5 ms",
        "limit: 10 ms",
    ]


def test_no_two_cases_have_one_name() -> None:
    names = [(case.get("classname"), case.get("name")) for case in written(MIXED).iter("testcase")]
    assert len(set(names)) == len(names)
    assert ("student.fp32.onnx", "accuracy drop at most 1 pt on host (2)") in names


def test_no_budgets_is_a_failure_too() -> None:
    found = written(release_of())
    assert (found.get("tests"), found.get("failures")) == ("1", "1")


def test_names_stay_names() -> None:
    found = written(EVIL_RELEASE)
    names = [case.get("classname", "") for case in found.iter("testcase")]
    assert names[0] == EVIL[0]
    assert names[1] == EVIL[1]
    assert len(names) == len(EVIL)
    assert {element.tag for element in found.iter()} == {"testsuites", "testsuite", "testcase", "failure"}


@pytest.mark.parametrize("broken", ["<testsuites><testcase/></testsuites>", "<testsuites><other/></testsuites>"])
def test_the_schema_refuses_what_is_none(broken: str) -> None:
    assert not SCHEMA.is_valid(broken)
    assert SCHEMA.is_valid(write(release=release_of(check("pass")), run=run_of()))
