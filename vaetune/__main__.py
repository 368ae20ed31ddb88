"""Runs the command `vaetune` as `python -m vaetune`."""

from vaetune.cli import main

main()
