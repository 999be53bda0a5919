"""JUnit XML, for the test tab of Jenkins, GitLab and others: a test case for each check."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as ET

from edgekd.announcers._text import NO_BUDGETS, amounts
from edgekd.records import Check, Release, Run
from edgekd.text import printable
from edgekd.verdict import describe_budget, status_text


def write(*, release: Release, run: Run) -> str:
    """Write a test case for each check, by the file that was checked.

    All that keeps a release back is a failure, so that no green list of tests stands beside a job that failed; what is
    waived, or inconclusive where that is left to pass, is skipped.

    Args:
        release: Of the gate.
        run: What was gated.

    Returns:
        XML that Jenkins' `junit-10.xsd` describes.
    """
    cases = [_case(check, held=release.is_held_back_by(check)) for check in release.checks]
    cases = cases or [_failed("", "budgets", "unmeasured", NO_BUDGETS, NO_BUDGETS)]
    _number_doubles(cases)
    failures, skipped = (sum(case.find(kind) is not None for case in cases) for kind in ("failure", "skipped"))
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "time": "0"}
    suites = ET.Element("testsuites", {"name": "edgekd gate", **counts})
    named = {"name": f"edgekd gate {printable(run.name)}", "skipped": str(skipped)}
    suite = ET.SubElement(suites, "testsuite", named | counts)
    suite.extend(cases)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(check: Check, *, held: bool) -> ET.Element:
    place = f" on {check.target}" if check.target else ""
    name, reason = f"{describe_budget(check.budget)}{place}", printable(check.reason)
    if held:
        observed, interval = amounts(check)
        facts = {"observed": observed, "interval": interval, "limit": check.budget.limit}
        lines = [reason, *(f"{key}: {printable(value)}" for key, value in facts.items() if value)]
        return _failed(check.model, name, check.status, reason, "\n".join(lines))
    case = _element(check.model, name)
    if check.status != "pass":
        ET.SubElement(case, "skipped", {"message": f"{status_text(check)}: {reason}"})
    ET.SubElement(case, "system-out").text = reason
    return case


def _failed(model: str, name: str, kind: str, message: str, text: str) -> ET.Element:
    case = _element(model, name)
    # Some readers show the attribute, others the text.
    ET.SubElement(case, "failure", {"type": kind, "message": message}).text = text
    return case


def _element(model: str, name: str) -> ET.Element:
    # Readers that lack a time take it for no number.
    return ET.Element("testcase", {"classname": printable(model) or "no file", "name": printable(name), "time": "0"})


def _number_doubles(cases: list[ET.Element]) -> None:
    """Readers keep one test case of each class and name; a budget against two teachers has two."""
    seen: Counter[tuple[str, str]] = Counter()
    for case in cases:
        key = case.attrib["classname"], case.attrib["name"]
        seen[key] += 1
        if seen[key] > 1:
            case.attrib["name"] += f" ({seen[key]})"
