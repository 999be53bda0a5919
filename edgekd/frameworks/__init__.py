"""Frameworks: networks that others have saved, opened without running code of theirs. One framework a file."""

import os

# Else transformers imports tensorflow too, wherever it is installed: seconds, and lines of its log.
os.environ.setdefault("USE_TORCH", "1")
