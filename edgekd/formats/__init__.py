"""Formats: what is in a model file. One plug-in per file."""
