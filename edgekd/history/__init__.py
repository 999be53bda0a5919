"""Every gate that was held, in one SQLite file: kept, read back as trends, exported."""

from edgekd.history.database import append, read
from edgekd.history.gathering import past_gate, recipe_name
from edgekd.history.trends import Point, Trend, change_text, trends_of, value_text

__all__ = ["Point", "Trend", "append", "change_text", "past_gate", "read", "recipe_name", "trends_of", "value_text"]
