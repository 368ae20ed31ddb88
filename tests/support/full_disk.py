"""Runs the command line in a process that may not write files of more than a few kilobytes.

It stands for a full disk: the kernel refuses to write.
"""

import resource

from vaetune.cli import main

MOST_BYTES = 8192

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    main()
