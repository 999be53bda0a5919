"""The page: what it says comes from its sections, how it looks from the templates and the style sheet beside them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from edgekd.stages.report.budgets import board_of
from edgekd.stages.report.section import Findings, Section
from edgekd.stages.report.sections import sections_of
from edgekd.stages.report.words import FILTERS
from edgekd.verdict import verdict_of

_HERE = Path(__file__).parent
_COMBINED = {
    "logits": "mean of logits",
    "probabilities": "mean of probabilities",
    "confidence": "mean of probabilities, weighted by confidence",
}
_STATUS_WORDS = {
    "pass": "Pass",
    "fail": "Fail",
    "inconclusive": "Inconclusive",
    "unmeasured": "Unmeasured",
}


def render(found: Findings) -> str:
    """Write the whole page of a run as HTML."""
    verdict = verdict_of(found.run)
    return write_page(
        "page.html.j2",
        sections_of(found),
        title=f"{_STATUS_WORDS[verdict.status]}: {found.run.name}",
        heading=found.run.name,
        verdict=verdict,
        board=board_of(found.run.release),
    )


def write_page(template: str, sections: Sequence[Section], *, title: str, heading: str, **facts: object) -> str:
    """Write a page that needs no other file.

    Args:
        template: That of the page; its `first` block is what people see first.
        sections: Parts below it; those with charts bring Vega along.
        title: Of the tab.
        heading: Of the page.
        facts: What the first screen is made of.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(status_words=_STATUS_WORDS, combined=_COMBINED)
    data = {
        "charts": [
            {"name": chart.name, "specs": [spec for _, spec in chart.options]}
            for section in sections
            for chart in section.charts
        ],
        **{name: value for section in sections for name, value in section.data.items()},
    }
    # Where nothing is drawn, the page has no script at all.
    drawn = bool(data["charts"]) or len(data) > 1
    scripts = [_text("vega.js"), _text("page.js") + _text("frontier.js")] if drawn else []
    style = _text("page.css")
    return environment.get_template(template).render(
        title=title,
        heading=heading,
        sections=[
            (each, Markup(environment.get_template(f"{each.name}.html.j2").render(_context(each))))  # noqa: S704  (escaped by the template)
            for each in sections
        ],
        policy=_policy(style, scripts),
        style=Markup(style),  # noqa: S704  (our own file)
        scripts=[Markup(each) for each in scripts],  # noqa: S704  (our own files and Vega's code)
        data=_script_json(data),
        **facts,
    )


def _context(section: Section) -> dict[str, object]:
    return {**section.facts, "charts": section.charts}


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


# --- what goes into style and script elements ------------------------------------------------------


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Allow the page's own style and scripts, by their hashes, and nothing from anywhere."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hashes([style])}",
            f"script-src {_hashes(scripts)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hashes(texts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def _script_json(value: object) -> Markup:
    r"""Write JSON that no HTML parser can take for markup.

    >>> _script_json("</script>")
    Markup('"\\u003c/script\\u003e"')
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (markup was escaped just now)
