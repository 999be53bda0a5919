"""Texts that packagers fill in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def render(template: str, **known: Any) -> str:
    """Fill in a template of this folder; what it asks for and is not given is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # What comes out is source code and Markdown, which have no HTML to escape.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters |= {
        "comment": _comment,
        "c_string": _c_string,
        "kotlin_string": lambda text: json.dumps(text).replace("$", "\\$"),
        "python_string": json.dumps,
        "cell": lambda text: " ".join(str(text).split()).replace("|", "\\|"),
    }
    return environment.get_template(f"{template}.j2").render(**known)


def _comment(text: str) -> str:
    """Text that ends no comment of C, and does not go on in the next line."""
    return " ".join(text.split()).replace("/*", "/ *").replace("*/", "* /").replace("\\", "/")


def _c_string(text: str) -> str:
    """A C string in UTF-8; what is not ASCII as octal digits, which end after three."""
    # A question mark could begin a trigraph.
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
