"""Makes the record of a small search, or runs the same commands again to compare with it.

`python tests/record/make_record.py` writes the record to the folder of this file.
`python tests/record/make_record.py FOLDER` runs the commands of `REPLAY` in the folder, a copy of
the record, and writes the outcomes to FOLDER/replay.json.

Both use one process with one thread, because the last digits of a loss depend on the number of
threads. README.md describes the files.
"""

import getpass
import io
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np

# The only imports from vaetune. Making the record needs `Journal`, replaying it does not.
import vaetune
from vaetune import cli
from vaetune.study import Journal

HERE = Path(__file__).parent
SEARCH = ("search", "squares.toml", "--threads-per-worker", "1", "--quiet")
TRAIN = (
    *("train", "--name", "small", "--dataset", "images.npz", "--device", "cpu", "--quiet"),
    *("--epochs", "3", "--batch-size", "8", "--seed", "5", "--learning-rate", "0.01"),
    *("--filters-1", "2", "--filters-2", "3", "--dense-units", "4", "--latent-dim", "2"),
)
EXAMPLE = (
    *("train", "--name", "example", "--dataset", "images.npz", "--device", "cpu", "--quiet"),
    *("--epochs", "4", "--batch-size", "16", "--seed", "3"),
)
"""Trains the Keras example like the recorded search, with the batch size of the search."""

EVALUATE = ("evaluate", "--importance-samples", "20", "--dataset", "images.npz")
AS_JSON = ("--format", "json")
REPLAY = {
    "search": (*SEARCH, "--final-seeds", "0", "--results", "fresh"),
    "train": (*TRAIN, "--results", "fresh"),
    "train example": (*EXAMPLE, "--results", "fresh"),
    "resume": (*SEARCH, "--results", "interrupted"),
    "evaluate resumed": (*EVALUATE, "squares", "--results", "interrupted"),
    "search finished": (*SEARCH, "--results", "finished"),
    "evaluate finished": (*EVALUATE, "squares", "--again", "--results", "finished"),
    "evaluate baseline": (*EVALUATE, "baselines/small", "--again", "--results", "finished"),
    "evaluate export": (*EVALUATE, "export", *AS_JSON, "--results", "nothing"),
}
"""Commands to run in a copy of the record, in this order."""

INTERRUPTED_BEFORE = "0010"
"""Trial before which the recorded search is interrupted: a promotion in the second bracket."""

_CPU = ("model name", "cpu family", "model", "cache size")
_INSTRUCTIONS = re.compile(r"avx|fma|amx|sse4")
_PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy")
_SCRUBBED = {"platform": "Linux", "dataset": "images.npz", "source": "images.npz"}


def set_environment():
    """Sets the variables that TensorFlow reads at its import and that change the last digits."""
    for variable in ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "XLA_FLAGS"):
        os.environ.pop(variable, None)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def run(*arguments):
    """Runs the command line in this process; returns exit status, stdout and stderr."""
    out, error = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["vaetune", *arguments])
    try:
        with argv, redirect_stdout(out), redirect_stderr(error):
            cli.main()
    except SystemExit as done:
        return done.code or 0, out.getvalue(), error.getvalue()


def describe_machine():
    """The properties of the machine that the last digits of a loss depend on."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    values = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = sorted(filter(_INSTRUCTIONS.match, values.get("flags", "").split()))
    return {
        "cpu": {key: values.get(key) for key in _CPU},
        "instructions": flags,
        "python": ".".join(map(str, sys.version_info[:2])),
        "versions": {name: version(name) for name in _PACKAGES},
        "threads": 1,
    }


def make_images(path):
    """Writes 80 images with one bright square each. The label is the position of the square."""
    generator = np.random.default_rng(17)
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        labels = generator.integers(0, 3, count)
        images = generator.integers(0, 30, (count, 8, 8)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4, 2 * label : 2 * label + 4] = 250
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez_compressed(path, **arrays)


def outputs_of(export):
    """The outputs of an exported model for the first test images."""
    with np.load("images.npz") as arrays:
        images = (arrays["x_test"][:4, ..., np.newaxis] / 255).astype(np.float32)
    model = vaetune.load_model(export / "vae.keras")
    z_mean, z_log_var = model.posterior(images)
    found = {"z_mean": z_mean, "z_log_var": z_log_var, "reconstructions": model.decoder(z_mean)}
    return {name: np.asarray(values, dtype=np.float64).tolist() for name, values in found.items()}


def losses_of(results):
    """All numbers in the journals of a results folder, without times, by study."""
    paths = sorted(results.glob("**/journal.jsonl"))
    return {path.parent.relative_to(results).as_posix(): _numbers_of(path) for path in paths}


def _numbers_of(path):
    found = {"trials": {}, "epochs": {}, "scores": {}, "evaluations": {}}
    for event in _events_of(path):
        match event["event"]:
            case "trial_started":
                found["trials"][event["trial_id"]] = _without(event, "trial_id", "worker")
            case "epoch_ended":
                key = f"{event['trial_id']}, epoch {event['epoch']}"
                found["epochs"][key] = {k: v for k, v in event.items() if k.endswith("loss")}
            case "trial_ended":
                found["scores"][event["trial_id"]] = event["score"]
            case "finalists_rescored":
                found["rescoring"] = event["rescoring"]
            case "finalists_retrained":
                found["retraining"] = event["retraining"]
            case "trial_evaluated":
                numbers = _without(event, "trial_id", "duration_s", "environment")
                found["evaluations"].setdefault(event["trial_id"], []).append(numbers)
    return found


def _events_of(path):
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _threads_used():
    """The numbers of threads in the journals under the working directory."""
    events = (event for path in Path().glob("**/journal.jsonl") for event in _events_of(path))
    return sorted({e["environment"]["threads"] for e in events if "environment" in e})


def _without(event, *keys):
    return {key: value for key, value in event.items() if key not in ("time", "event", *keys)}


def replay(folder):
    """Runs the commands of `REPLAY` in a copy of the record, and writes replay.json there."""
    os.chdir(folder)
    recorded = losses_of(Path("finished"))
    commands = {name: run(*arguments) for name, arguments in REPLAY.items()}
    outcome = {
        "machine": describe_machine(),
        "threads": _threads_used(),
        "commands": commands,
        "recorded": recorded,
        "fresh": losses_of(Path("fresh")),
        "resumed": losses_of(Path("interrupted")),
        "finished": losses_of(Path("finished")),
    }
    if not any(code for code, *_ in commands.values()):
        outcome["export"] = _losses_of_export(commands["evaluate export"][1])
    Path("replay.json").write_text(json.dumps(outcome, indent=1), encoding="utf-8")


def _losses_of_export(printed):
    (evaluation,) = json.loads(printed)
    numbers = _without(evaluation, "duration_s", "environment")
    return {"outputs": outputs_of(Path("export")), "evaluation": numbers}


def record():
    """Makes the record in an empty folder, and then replaces the old record."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "squares.toml", folder)
        os.chdir(folder)
        make_images(Path("images.npz"))
        _succeed(*SEARCH, "--results", "finished")
        _succeed(*TRAIN, "--results", "finished")
        _succeed(*EVALUATE, "squares", "--results", "finished")
        _succeed(*EVALUATE, "baselines/small", "--results", "finished")
        _succeed("best", "squares", "--export", "--output", "export", "--results", "finished")
        _interrupt(*SEARCH, "--results", "interrupted")
        printed = _succeed(*EVALUATE, "export", *AS_JSON, "--results", "nothing")
        losses = {
            "machine": describe_machine(),
            "studies": losses_of(Path("finished")),
            "export": _losses_of_export(printed),
        }
        text = json.dumps(losses, indent=1) + "\n"
        Path("losses.json").write_text(text, encoding="utf-8")
        _scrub()
        for name in ("finished", "interrupted", "export"):
            shutil.rmtree(HERE / name, ignore_errors=True)
            shutil.copytree(name, HERE / name)
        for name in ("images.npz", "losses.json"):
            shutil.copy(name, HERE)
        os.chdir(HERE)


def _succeed(*arguments):
    code, out, error = run(*arguments)
    if code:
        raise SystemExit(f"{' '.join(arguments)} failed: {error}")
    return out


def _interrupt(*arguments):
    """Runs a search, and interrupts it like Ctrl-C before it begins a promotion."""
    append = Journal.append

    def append_or_stop(self, event):
        if event.event == "trial_started" and event.trial_id == INTERRUPTED_BEFORE:
            assert event.parent is not None
            raise KeyboardInterrupt
        append(self, event)

    with mock.patch.object(Journal, "append", append_or_stop):
        code, _, error = run(*arguments)
    assert code == 130, error


def _scrub():
    """Removes names and paths of this machine from journals, and files that are not needed."""
    for path in Path().rglob("*"):
        if path.name in (".lock", ".holder", "report.html"):
            path.unlink()
        elif path.name == "journal.jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            events = (json.dumps(_scrubbed(json.loads(line))) + "\n" for line in lines)
            path.write_text("".join(events), encoding="utf-8")
    for word in (socket.gethostname(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        for path in filter(Path.is_file, Path().rglob("*")):
            if len(word) > 4 and word.encode() in path.read_bytes():
                raise SystemExit(f"{path} contains {word!r}")


def _scrubbed(value):
    if not isinstance(value, dict):
        return value
    return {
        key: _SCRUBBED[key] if isinstance(one, str) and key in _SCRUBBED else _scrubbed(one)
        for key, one in value.items()
    }


if __name__ == "__main__":
    set_environment()
    replay(Path(sys.argv[1])) if len(sys.argv) > 1 else record()
