"""Comparisons in words: which file is slower, by how much, and what would tell more."""

from __future__ import annotations

from typing import Any

import pytest

from edgekd.records import Comparison, Conditions, Turns
from edgekd.stages.benchmark import explain

TURNS = Turns(first=(1.0, 1.0), second=(1.0, 1.0), first_loaded=True)
FACTS: dict[str, Any] = {
    "first": "a.onnx",
    "second": "b.onnx",
    "first_sha256": "",
    "second_sha256": "",
    "target": "host",
    "threshold": 0.01,
    "processes": (TURNS,) * 10,
    "confidence": 0.99,
    "needed": None,
    "conditions": (Conditions(),),
    "basis": "measured",
    "wall_s": 20.0,
    "started_at": "",
}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (
            {"ratio": 1.051, "low": 1.048, "high": 1.054, "verdict": "slower"},
            "b.onnx is 5.1 % slower than a.onnx (4.8 to 5.4 %): slower by more than the threshold of 1 %",
        ),
        (
            {"ratio": 0.951, "low": 0.948, "high": 0.954, "verdict": "faster"},
            "b.onnx is 4.9 % faster than a.onnx (4.6 to 5.2 %): faster by more than the threshold of 1 %",
        ),
        (
            {"ratio": 3.128, "low": 3.05, "high": 3.21, "verdict": "slower"},
            "b.onnx takes 3.13 times as long as a.onnx (3.05 to 3.21 times): slower by more than the threshold of 1 %",
        ),
        (
            {"ratio": 1.0004, "low": 0.998, "high": 1.003, "verdict": "same"},
            "b.onnx is 0.04 % slower than a.onnx (0.2 % faster to 0.3 % slower): the same within the threshold of 1 %",
        ),
        (
            {"ratio": 0.99, "low": 0.985, "high": 0.995, "verdict": "not_slower"},
            "b.onnx is 1.0 % faster than a.onnx (0.5 to 1.5 %): not slower by more than the threshold of 1 %",
        ),
        (
            {"ratio": 1.02, "low": 1.0, "high": 1.04, "verdict": "inconclusive", "needed": 25},
            (
                "b.onnx is 2.0 % slower than a.onnx (0.00 to 4.0 %): inconclusive at the threshold of 1 %; "
                "needs about 15 more processes, 30 s: --time-limit 56"
            ),
        ),
        (
            {"ratio": 1.02, "low": None, "high": None, "verdict": "inconclusive", "needed": 11},
            (
                "b.onnx is 2.0 % slower than a.onnx, by too few processes for an interval: inconclusive at the "
                "threshold of 1 %; needs about 1 more process, 2 s: --time-limit 23"
            ),
        ),
        (
            {"ratio": 1.01, "low": 1.0, "high": 1.02, "verdict": "inconclusive"},
            (
                "b.onnx is 1.0 % slower than a.onnx (0.00 to 2.0 %): inconclusive, so near to the threshold of 1 % "
                "that more processes will hardly tell"
            ),
        ),
    ],
)
def test_sentence(facts: dict[str, Any], text: str) -> None:
    assert explain(Comparison(**{**FACTS, **facts})).startswith(text)
