"""Runs the command line in a process that cannot write files of more than 8 KiB.

This simulates a full disk: the kernel refuses to write.
"""

import resource

from vaetune.cli import main

MAX_FILE_BYTES = 8192

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    main()
