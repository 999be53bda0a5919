"""Quantizers: a float32 model file becomes one of a precision. One plug-in per file."""
