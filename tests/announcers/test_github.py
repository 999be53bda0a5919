"""Workflow commands, read back as GitHub's runner does."""

from __future__ import annotations

import re

from edgekd.announcers.github import write
from edgekd.records import Release
from tests.announcers.verdicts import EVIL, EVIL_RELEASE, LATENCY, MIXED, PLACES, check, release_of

UNESCAPED = {"%3A": ":", "%2C": ",", "%0D": "\r", "%0A": "\n", "%25": "%"}


def commands(release: Release) -> list[tuple[str, dict[str, str], str]]:
    """Kind, properties and message of each line, as actions/runner's ActionCommand takes them apart."""
    found = []
    for line in write(release=release, places=PLACES).splitlines():
        match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert match, line
        properties = dict(pair.split("=", 1) for pair in match[2].split(","))
        found.append((match[1], {key: unescape(value) for key, value in properties.items()}, unescape(match[3])))
    return found


def unescape(text: str) -> str:
    for escaped, plain in UNESCAPED.items():
        text = text.replace(escaped, plain)
    return text


def test_what_keeps_a_release_back_is_an_error_at_its_budget() -> None:
    found = commands(MIXED)
    assert [kind for kind, _, _ in found] == ["error"] * 4
    _, properties, message = found[3]
    assert properties == {"title": "inconclusive: latency p90 at most 10 ms", "file": "budgets.toml", "line": "5"}
    assert message == "student.fp32.onnx on pi: about 40 more runs would decide"
    assert found[2][1] == {"title": "unmeasured: parity at least 99 %"}


def test_a_pass_is_a_notice() -> None:
    assert commands(release_of(check("pass"), check("pass", LATENCY))) == [
        ("notice", {"title": "edgekd gate"}, "pass: 2 checks")
    ]


def test_no_budgets_is_an_error() -> None:
    assert commands(release_of())[0][0] == "error"


def test_no_more_than_github_shows_and_the_last_says_how_many_there_are() -> None:
    assert len(commands(release_of(*[check("fail")] * 10))) == 10
    found = commands(release_of(*[check("inconclusive")] * 30, check("fail")))
    assert len(found) == 10
    assert found[0][1]["title"].startswith("fail")
    assert found[-1][2] == "and 22 more checks that are no pass; the log has them all"


def test_names_stay_names() -> None:
    found = commands(release_of(*EVIL_RELEASE.checks[:9]))
    for (_, _, message), name in zip(found, EVIL, strict=False):
        seen = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
        assert message == unescape(f"{seen} on {seen}: it is {seen}".replace("%", "%25"))
