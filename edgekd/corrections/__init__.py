"""Corrections: a folded network is changed before export, so that less is lost in a precision. One plug-in per file."""
