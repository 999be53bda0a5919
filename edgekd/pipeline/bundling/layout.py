"""What lies where in a bundle, beside the files of the run, and how large it may be."""

from __future__ import annotations

from edgekd.pipeline.bundling.archive import MAX_FILE_BYTES
from edgekd.pipeline.manifest import SHIPPED

FORMAT = 1  # raised when a file in a bundle changes its meaning
INDEX = "bundle.json"
MATERIALS, PROVENANCE = "sbom.cdx.json", "provenance.json"
LICENCES, LICENCE_TEXT = "licences.json", "licences/edgekd.txt"
DOCUMENTS = (MATERIALS, PROVENANCE, LICENCES, LICENCE_TEXT)
# Measurements of 20 files on 5 targets take a quarter of the first; 10,000 files in a list take a third of the second.
MAX_DOCUMENT_BYTES, MAX_LIST_BYTES = 128 * 1024**2, 16 * 1024**2


def limit_of(name: str) -> int:
    """The size in bytes that a file may have, which is then only hashed.

    >>> limit_of("report/report.json") < limit_of("export/student.fp32.onnx")
    True
    """
    return MAX_FILE_BYTES if name.startswith(tuple(f"{step}/" for step in SHIPPED)) else MAX_DOCUMENT_BYTES


def read_limit_of(name: str) -> int:
    """The size in bytes that a file may have which is read whole."""
    return MAX_DOCUMENT_BYTES if name.endswith("measurements.json") else MAX_LIST_BYTES
