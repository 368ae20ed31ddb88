"""Reads an export in a separate process that cannot import vaetune."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from vaetune.files import write_arrays

TIMEOUT_S = 600.0
"""Seconds until the process is killed."""


class Reader:
    """A process that runs `standalone/read_back.py` for one export.

    The process starts when the context is entered, so that it loads TensorFlow while the export is
    being written. It ends when the context is left.
    """

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        with as_file(files("vaetune.export.standalone") / "read_back.py") as script:
            self._process = subprocess.Popen(
                # With -P, Python imports no module from the folder of the script.
                [sys.executable, "-P", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:  # Closes the pipes and waits for the process.
            self._process.kill()

    def read(
        self, folder: Path, formats: Sequence[str], reference: Mapping[str, Any]
    ) -> dict[str, Mapping[str, Any]]:
        """Reads formats from a folder. Call this once.

        Args:
            folder: Folder of the export.
            formats: Names of the formats to read.
            reference: Inputs and the outputs of the original; see `verify.Reference`.

        Returns:
            For each format either "max_difference", by endpoint, or "error", the line that says why
            it could not be read.
        """
        with TemporaryDirectory(prefix="vaetune-") as temporary:
            path = Path(temporary) / "reference.npz"
            write_arrays(path, reference)
            task = {"folder": str(folder.resolve()), "reference": str(path), "formats": formats}
            answers, printed = self._send(task)
        end = f"the verifying process ended with exit code {self._process.returncode}"
        missing = {"error": f"{end}: {printed or 'it printed nothing'}"}
        return {name: answers.get(name, missing) for name in formats}

    def _send(self, task: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], str]:
        """The answers of the process by format, and the last line of its stderr."""
        try:
            out, printed = self._process.communicate(json.dumps(task) + "\n", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, _ = self._process.communicate()
            printed = f"it took longer than {TIMEOUT_S:g} s"
        answers = [json.loads(line) for line in out.splitlines()]
        last = "".join(printed.splitlines()[-1:])
        return {answer.pop("format"): answer for answer in answers}, last
