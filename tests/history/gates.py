"""Gates for tests of the history."""

from __future__ import annotations

from typing import Any

from edgekd.records import PastFigure, PastGate


def figure(observed: float | None = 28_800.0, **changes: Any) -> PastFigure:
    """The size of a file, held against a budget."""
    known: dict[str, Any] = {
        "metric": "file_size",
        "model": "student.tflite",
        "format": "tflite",
        "precision": "fp32",
        "target": "file",
        "unit": "B",
        "low": observed,
        "high": observed,
        "bound": "at most",
        "limit": 40_000.0,
        "written": "40 kB",
        "status": "pass",
    }
    return PastFigure(observed=observed, **{**known, **changes})


def unbudgeted(observed: float, **changes: Any) -> PastFigure:
    """A number that no budget looked at."""
    return figure(
        observed, **{"low": None, "high": None, "bound": "", "limit": None, "written": "", "status": "", **changes}
    )


def gate(number: int, *figures: PastFigure, **changes: Any) -> PastGate:
    """One of several gates, a minute after another."""
    known: dict[str, Any] = {
        "gated_at": f"2026-11-29T12:{number:02d}:00Z",
        "recipe": "digits",
        "run": "try-1",
        "status": "pass",
        "fingerprint": f"f{number}",
        "recipe_sha256": "5e1f",
        "commit": f"{number:040x}",
        "version": "0.1.0",
    }
    return PastGate(figures=figures or (figure(),), **{**known, **changes})
