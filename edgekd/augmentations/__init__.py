"""Augmentations: pure batched functions of (seed, view, indices, inputs), the same on every machine."""
