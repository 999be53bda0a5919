"""What is wrong with a model file on a target, found without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# An error: the file does not run there, or gives wrong numbers. A warning: it runs, but slower or bigger than need be.
Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule found in a model file.

    Attributes:
        rule: The name of the rule's file.
        model: The file, where one was read.
        operator: As the format calls it; empty where the whole file is meant.
        layer: The operator's name in the file, or `#` and its index.
        what: In one line, with the values.
        next_step: What to do about it.
    """

    rule: str
    severity: Severity
    target: str
    what: str
    next_step: str
    operator: str = ""
    layer: str = ""
    model: str = ""
