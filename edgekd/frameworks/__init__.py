"""Frameworks: networks that others have saved, opened without running code of theirs. One framework a file."""

import os

# transformers and optimum import tensorflow and flax wherever these are installed, for tens of seconds; no network of
# theirs that edgekd opens needs them. Both ask once, as they are imported; whoever has chosen otherwise keeps it.
for _other in ("USE_TF", "USE_FLAX"):
    os.environ.setdefault(_other, "0")
