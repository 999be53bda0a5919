"""Whether this process is one of several that a launcher (`accelerate launch`, `torchrun`) started."""

from __future__ import annotations

import os


def process_count() -> int:
    """How many processes train together.

    >>> process_count()
    1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """Number of this one; 0 prints and writes."""
    return int(os.environ.get("RANK", "0"))
