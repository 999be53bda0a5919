"""What numbers of an input mean, where they are tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How texts became the numbers that a network takes.

    Attributes:
        vocabulary: How many tokens there are; their numbers go from 0 to one less.
        pad: What fills up short texts; `None` where there is nothing to fill up.
        tokenizer: The `tokenizer.json` that made them, whole, as Hugging Face's tokenizers read it; empty where the
            numbers were given and nobody said what made them.
    """

    vocabulary: int
    pad: int | None = None
    tokenizer: str = ""
