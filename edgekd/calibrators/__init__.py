"""Calibrators: which range of an activation is worth its integers. One plug-in per file."""
