"""Frameworks: networks that others have saved, opened without running code of theirs. One framework a file."""
