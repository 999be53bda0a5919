"""How a verdict is told to CI, one format a file.

Each file has one function `write` that turns a verdict into text and touches nothing else. It asks by name for what it
needs: `release`, `run` and `places`, which says where each budget is written.
"""
