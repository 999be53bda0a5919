"""One archive of a run: what ships, how it was made, what was measured, and the verdict."""

from edgekd.pipeline.bundling.verifying import VerifiedBundle, verify_bundle
from edgekd.pipeline.bundling.writing import Bundle, Contents, collect, write_bundle

__all__ = ["Bundle", "Contents", "VerifiedBundle", "collect", "verify_bundle", "write_bundle"]
