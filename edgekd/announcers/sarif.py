"""SARIF 2.1.0, for code scanning: budgets that are not met and what lint found, by the file they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgekd import registry
from edgekd.announcers._text import NO_BUDGETS, worst_first
from edgekd.formulas import is_formula
from edgekd.records import Budget, Check, Finding, Place, Release, Run
from edgekd.store import fingerprint, tool_versions
from edgekd.text import printable
from edgekd.units import METRICS
from edgekd.verdict import describe_budget

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NO_BUDGETS_RULE = "budgets/none"


def write(*, release: Release, run: Run, places: Mapping[Budget, Place]) -> str:
    """Write a result for each check that is no pass, the worst first, and for each finding of lint.

    Args:
        release: Of the gate.
        run: What was gated, with its findings.
        places: Where budgets are written.

    Returns:
        JSON. Passes are left out, since readers show every result as an alert.
    """
    refused = [check for check in worst_first(release) if check.status != "pass"]
    results = [_of_check(check, release, run, places) for check in refused]
    if not release.checks:
        results.append(_result(_NO_BUDGETS_RULE, "error", NO_BUDGETS, ()))
    results += [_of_finding(finding, run) for finding in run.findings]
    driver = {
        "name": "edgekd",
        "version": tool_versions("edgekd")["edgekd"],
        "rules": [_rule(each) for each in dict.fromkeys(result["ruleId"] for result in results)],
    }
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"edgekd/{quote(printable(run.name))}/"},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }
    return json.dumps(log, indent=1) + "\n"


def _of_check(check: Check, release: Release, run: Run, places: Mapping[Budget, Place]) -> dict[str, Any]:
    place = places.get(check.budget)
    budget = {**_location(place.file, place.line), "message": {"text": "the budget"}} if place else None
    locations = [_location(_file_of(check.model, run))] if check.model else [budget] if budget else []
    result = _result(
        f"budget/{'expression' if is_formula(check.budget.metric) else check.budget.metric}",
        # The gate refuses what is not proven as it does what is broken, unless it was told not to.
        "error" if release.is_held_back_by(check) or check.waiver else "warning",
        f"{check.status}: {describe_budget(check.budget)}: {check.reason}",
        (check.model, check.target, place.file if place else "", fingerprint(check.budget)),
    )
    result |= {"locations": locations, "properties": {"status": check.status, "target": printable(check.target)}}
    if check.waiver:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": printable(check.reason)}]
    if budget and check.model:
        result["relatedLocations"] = [budget]
    return result


def _of_finding(finding: Finding, run: Run) -> dict[str, Any]:
    operator = f"{finding.operator} {finding.layer}: " if finding.operator else ""
    text = f"{finding.target}: {operator}{finding.what}; {finding.next_step}"
    about = (finding.model, finding.target, finding.operator, finding.layer, finding.what)
    result = _result(f"lint/{finding.rule}", finding.severity, text, about)
    if finding.model:
        location = _location(_file_of(finding.model, run))
        if finding.layer:
            location["logicalLocations"] = [{"name": printable(finding.layer), "kind": "member"}]
        result["locations"] = [location]
    return result


def _result(rule: str, level: str, text: str, about: tuple[str, ...]) -> dict[str, Any]:
    # Without a fingerprint each upload would open its alerts anew.
    key = fingerprint(rule, *map(printable, about))[:32]
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": printable(text)},
        "partialFingerprints": {"primaryLocationLineHash": f"{key}:1"},
    }


def _location(file: str, line: int = 1) -> dict[str, Any]:
    path = Path(printable(file))
    artifact = (
        {"uri": path.as_uri()} if path.is_absolute() else {"uri": quote(path.as_posix()), "uriBaseId": "%SRCROOT%"}
    )
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}}}


def _file_of(model: str, run: Run) -> str:
    """Where a model file is, from where edgekd runs; its name alone where the run does not know."""
    return str(next((each.path for each in run.models if each.name == model), model))


def _rule(rule: str) -> dict[str, Any]:
    text = _rule_text(*rule.split("/", 1))
    return {
        "id": rule,
        "name": rule.replace("/", " ").replace("_", " ").title().replace(" ", ""),
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": f"{text}. The message says what would change it."},
    }


def _rule_text(kind: str, name: str) -> str:
    if kind == "budget":
        return f"Budget for {name.replace('_', ' ')}" + (f": {METRICS[name].summary}" if name in METRICS else "")
    if kind == "lint" and name in registry.names("lints"):  # findings may be of a rule that is not installed here
        return registry.describe("lints", name).summary.rstrip(".")
    if kind == "lint":
        return f"Lint: {name.replace('_', ' ')}"
    return f"A release is proven by budgets; {NO_BUDGETS}"
