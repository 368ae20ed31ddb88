"""`python -m vaetune` is the command `vaetune`."""

from vaetune.cli import main

main()
