"""Packagers: what an app or a firmware needs around a model file. One plug-in per file."""
