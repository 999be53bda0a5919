"""Text of any origin, as a real parser of Markdown reads it."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from edgekd.text import markdown_name, markdown_text
from tests.announcers.verdicts import EVIL

GFM = MarkdownIt("gfm-like", {"linkify": False, "html": True})
STARTS = (
    "- x",
    "1. x",
    "12) x",
    "---",
    "===",
    "# x",
    "> x",
    "+ x",
    "* x",
    "    x",
    "- - -",
    "-",
    "``` x",
    "~~~",
    "[x]: y",
)


def kinds(text: str) -> set[str]:
    """Kinds of blocks and of inline markup."""
    tokens = GFM.parse(text)
    return {each.type for token in tokens for each in (token, *(token.children or []))}


@pytest.mark.parametrize("text", [*STARTS, *EVIL])
def test_text_that_stands_first_in_a_line_is_a_paragraph(text: str) -> None:
    plain = {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}
    assert kinds(markdown_text(text)) <= plain
    assert kinds(f"- {markdown_text(text)}") <= plain | {
        *("bullet_list_open", "list_item_open", "list_item_close", "bullet_list_close")
    }


@pytest.mark.parametrize("text", [*STARTS, *EVIL])
def test_a_name_is_code_and_nothing_else(text: str) -> None:
    tokens = GFM.parseInline(markdown_name(text))[0].children or []
    assert [each.content for each in tokens if each.type == "html_inline"] == ["<code>", "</code>"]
    seen = "".join(each.content for each in tokens if each.type != "html_inline")
    assert seen == "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
