"""Ways to load a trained teacher: one file each, named as in recipes.

Each has one function `load`, which gives a frozen `torch.nn.Module` in evaluation mode that maps (B, *input_shape)
float32, channels first, to (B, outputs) float32; `logits` alone gives a `StoredLogits`, which maps positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.teachers._stored import StoredLogits

__all__ = ["StoredLogits"]


def __getattr__(name: str) -> Any:
    """Load torch when a teacher is asked for, not when a recipe that names one is read."""
    if name != "StoredLogits":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from edgekd.teachers._stored import StoredLogits

    return StoredLogits
