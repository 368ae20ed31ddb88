"""Describes where a search runs: machine, package versions, Git revision."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vaetune.study.records import Environment

_PACKAGES = ("vaetune", "keras", "tensorflow", "keras-tuner", "numpy", "pandas")


def describe_environment(device: str, threads: int) -> Environment:
    """Returns a description of this process and its machine.

    Args:
        device: Name of the device that trains, such as "CPU".
        threads: CPU threads per operation.
    """
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=threads,
        device=device,
        versions=_versions(),
        revision=_revision(),
        command=_command(),
    )


def _command() -> tuple[str, ...]:
    """Returns the command line of vaetune, or the name of a script without its own arguments."""
    program = Path(sys.argv[0])
    if program.stem == "vaetune" or program.parts[-2:] == ("vaetune", "__main__.py"):
        return ("vaetune", *sys.argv[1:])
    return ("a notebook",) if "ipykernel" in sys.modules else ("python", program.name)


def changes(before: Environment, now: Environment) -> list[str]:
    """Lists differences that may change a trial's losses, each as "what: before -> now"."""
    packages = sorted({*before.versions, *now.versions})
    pairs = {
        "device": (before.device, now.device),
        "threads": (before.threads, now.threads),
        "processor": (before.cpu, now.cpu),
        "Python": (before.python, now.python),
        **{name: (before.versions.get(name), now.versions.get(name)) for name in packages},
    }
    return [f"{what}: {old} -> {new}" for what, (old, new) in pairs.items() if old != new]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # vaetune itself may run from a source tree that was never installed.
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _revision() -> str | None:
    """Returns the commit of the working directory, or None outside a Git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
