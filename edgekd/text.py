"""Text that may hold anything, such as names of files, written so that it means nothing but itself."""

from __future__ import annotations

import re

# The longest comment that GitHub takes, and the longest summary of a step.
COMMENT_BYTES, STEP_SUMMARY_BYTES = 65_536, 1_048_576
# A name or a reason that is longer is no name and no reason.
_NAME_LENGTH, _REASON_LENGTH = 120, 600


def printable(text: str) -> str:
    r"""Replace what no terminal, page or XML should be given: line breaks, control characters, halves of characters.

    >>> printable("a" + chr(10) + "b.tflite").encode("ascii", "namereplace").decode()
    'a\\N{REPLACEMENT CHARACTER}b.tflite'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def markdown_name(text: str) -> str:
    r"""Write a name as code in Markdown, where GitHub looks for no mentions; by tags: in backticks a `|` ends a cell.

    >>> print(markdown_name("a*b.tflite"))
    <code>a\*b.tflite</code>
    """
    return f"<code>{_escape(text, _NAME_LENGTH)}</code>"


def markdown_text(text: str) -> str:
    r"""Make text mean itself in Markdown, in a cell of a table too: no markup, HTML, link or end of the cell.

    >>> print(markdown_text("a|b<i>_c_"))
    a&#124;b&lt;i&gt;\_c\_
    """
    # Spaces in front make code of a line, and a zero-width one keeps names of files from calling people.
    return _escape(text.lstrip(), _REASON_LENGTH).replace("@", "@\u200b")


def _escape(text: str, length: int) -> str:
    text = printable(text)
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    text = re.sub(r"[\\`*_{}\[\]()#+!~:$^]", r"\\\g<0>", text)
    # What begins a list, a heading or a line across, where it stands first.
    text = re.sub(r"^(\s*\d*)([-=.)])(?=[\s=-]|$)", r"\1\\\2", text)
    text = re.sub(r"(?i)www\.", r"www\\.", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
