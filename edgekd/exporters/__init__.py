"""Exporters: a network becomes a float32 model file. One plug-in per file."""
