"""Shell scripts that stand for programs of a target."""

from pathlib import Path


def write_program(path: Path, script: str) -> None:
    """A shell script in a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
