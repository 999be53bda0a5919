"""`python -m edgekd` is the same as `edgekd`."""

from edgekd.cli import main

main()
