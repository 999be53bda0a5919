"""The last release: kept, found again, and held against the next one."""

from edgekd.pipeline.baseline.against import Against, open_against
from edgekd.pipeline.baseline.file import write as write_baseline
from edgekd.pipeline.baseline.promoting import promote
from edgekd.pipeline.baseline.reading import DEFAULT as BASELINE
from edgekd.pipeline.baseline.reading import LastRelease, find_baseline

__all__ = ["BASELINE", "Against", "LastRelease", "find_baseline", "open_against", "promote", "write_baseline"]
