"""A process of its own that reads an export, and cannot import vaetune."""

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


class Reader:
    """Runs `standalone/read_back.py`, for one export.

    It brings TensorFlow up as soon as the context is entered, while the export is being written.
    However the context is left, the process ends.
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
                # -P: nothing is imported from the script's own folder.
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
        with self._process:  # closes its pipes, and waits for it
            self._process.kill()

    def read(
        self, folder: Path, formats: Sequence[str], reference: Mapping[str, Any]
    ) -> dict[str, Mapping[str, Any]]:
        """Reads formats from a folder; to be called once.

        Args:
            reference: Inputs and outputs of the original, by the names in `read_back.OUTPUTS`.

        Returns:
            For each format how far its endpoints are "apart" from the original, or the "error"
            in one line that kept it from being read.
        """
        with TemporaryDirectory(prefix="vaetune-") as temporary:
            path = Path(temporary) / "reference.npz"
            write_arrays(path, reference)
            task = {"folder": str(folder.resolve()), "reference": str(path), "formats": formats}
            answers, printed = self._ask(task)
        end = f"the process that read it back ended with code {self._process.returncode}"
        lost = {"error": f"{end}: {printed or 'it printed nothing'}"}
        return {name: answers.get(name, lost) for name in formats}

    def _ask(self, task: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], str]:
        """What the process answers of each format, and the last line it printed besides."""
        try:
            out, printed = self._process.communicate(json.dumps(task) + "\n", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, _ = self._process.communicate()
            printed = f"it took longer than {TIMEOUT_S:g} s"
        answers = [json.loads(line) for line in out.splitlines()]
        last = "".join(printed.splitlines()[-1:])
        return {answer.pop("format"): answer for answer in answers}, last
