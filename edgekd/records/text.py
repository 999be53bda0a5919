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
        begin: What comes before a text, or `None`.
        end: What comes after one, or `None`.
        mask: What hides a token that is to be guessed, or `None`.
    """

    vocabulary: int
    pad: int | None = None
    tokenizer: str = ""
    begin: int | None = None
    end: int | None = None
    mask: int | None = None
