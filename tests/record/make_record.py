"""Makes the record that `tests/end_to_end/test_record.py` compares with.

It was run with commit 5354a55, before modules moved into packages, from the top of a checkout:

    python tests/record/make_record.py

It imports that commit's modules. To make the record anew with a later version, change the imports
in `interrupt`, and say so in README.md.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ONE_THREAD = ("--threads-per-worker", "1")

SEARCH_FILE = """\
description = "squares"
algorithm = "hyperband"
seed = 3
device = "cpu"
[data]
dataset = "squares.npz"
[budget]
max_epochs = 3
[training]
batch_size = 8
[space]
filters_1 = { values = [2, 3] }
filters_2 = { values = [3, 4] }
dense_units = { values = [4, 5] }
latent_dim = { values = [2, 3] }
learning_rate = { min = 1e-3, max = 1e-1, scale = "log" }
"""


def make_images(folder):
    """Squares of five classes, somewhere on black, (n, 9, 10, 1) uint8."""
    generator = np.random.default_rng(5)

    def draw(count):
        labels = np.arange(count) % 5
        images = np.zeros((count, 9, 10, 1), np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = generator.integers(0, 4), generator.integers(0, 5)
            image[top : top + label + 1, left : left + label + 1] = generator.integers(128, 256)
        return images, labels

    train, test = draw(60), draw(24)
    np.savez_compressed(
        folder / "squares.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1]
    )


def vaetune(folder, *arguments):
    command = [sys.executable, "-m", "vaetune", *arguments]
    subprocess.run(command, cwd=folder, check=True)


def interrupt(folder):
    """Runs the search until its first promotion is about to start."""
    code = """
import sys
from pathlib import Path
from vaetune.data import load_prepared
from vaetune.device import choose_device
from vaetune.journal import TrialStarted
from vaetune.search_file import resolve
resolved = resolve(Path("squares.toml"))
images = load_prepared(resolved.spec.data)
device = choose_device("cpu", threads=1)
from vaetune.search import open_search

class StopAtThePromotion:
    ended = 0
    def on_event(self, whose, event):
        self.ended += event.event == "trial_ended" and whose == "search"
        if self.ended == 3:
            raise KeyboardInterrupt
    def on_progress(self, whose, trial_id, share):
        pass
    def on_wait(self):
        pass

with open_search(resolved, images, device, Path("interrupted")) as opened:
    try:
        opened.run(StopAtThePromotion())
    except KeyboardInterrupt:
        sys.exit(0)
sys.exit("it was not interrupted")
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def scrub(folder):
    """Removes paths and commands of this machine from the journals."""
    for path in folder.rglob("journal.jsonl"):
        lines = []
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if "environment" in event:
                event["environment"] |= {"command": ["vaetune"], "revision": None}
                event["environment"]["platform"] = "Linux"
            for part in (event.get("data"), event.get("search", {}).get("data")):
                for key in ("source", "dataset"):
                    if part and key in part:
                        part[key] = "squares.npz"
            lines.append(json.dumps(event))
        path.write_text("\n".join(lines) + "\n")
    for pattern in (".lock", ".holder", "report.html", "*.png"):
        for path in folder.rglob(pattern):
            path.unlink()
    pattern = re.escape(str(folder))
    told = [
        p for p in folder.rglob("*") if p.is_file() and re.search(pattern.encode(), p.read_bytes())
    ]
    assert not told, told


def losses_of(journal):
    """The epochs, scores and rescored losses that a journal tells, in order."""
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    keys = ("loss", "reconstruction_loss", "kl_loss")
    names = ("trial_id", "epoch", *keys, *(f"val_{key}" for key in keys))
    return {
        "epochs": [[e[name] for name in names] for e in events if e["event"] == "epoch_ended"],
        "scores": [[e["trial_id"], e["score"]] for e in events if e["event"] == "trial_ended"],
        "rescored": [
            [one["trial_id"], one["negative_elbo"]["mean"]]
            for e in events
            if e["event"] == "finalists_rescored"
            for one in e["rescoring"]["finalists"]
        ],
    }


def describe_machine(journal):
    """What must be the same for losses to be the same bit for bit."""
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    (environment, *_) = (e["environment"] for e in events if e["event"] == "session_started")
    versions = {name: environment["versions"][name] for name in ("tensorflow", "keras", "numpy")}
    return {key: environment[key] for key in ("cpu", "threads", "device")} | versions


def record_outputs(folder):
    """What the exported model says of two images."""
    code = """
import json, numpy as np
from vaetune.device import choose_device
choose_device("cpu", threads=1)
import vaetune
vae = vaetune.load_model("export/vae.keras")
images = np.load("squares.npz")["x_test"][:2] / np.float32(255)
z_mean, z_log_var = (np.asarray(one) for one in vae.posterior(images))
decoded = np.asarray(vae.decoder(z_mean, training=False))
told = {"z_mean": z_mean, "z_log_var": z_log_var, "decoded": decoded}
print(json.dumps({name: array.tolist() for name, array in told.items()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    for path in ("results", "interrupted", "export"):
        shutil.rmtree(HERE / path, ignore_errors=True)
    (HERE / "squares.toml").write_text(SEARCH_FILE)
    make_images(HERE)
    vaetune(HERE, "search", "./squares.toml", *ONE_THREAD)
    single = ("--epochs", "2", "--latent-dim", "3", "--batch-size", "8", "--device", "cpu")
    small = ("--filters-1", "2", "--filters-2", "3", "--dense-units", "4")
    vaetune(HERE, "train", "--dataset", "squares.npz", "--name", "alone", *single, *small)
    vaetune(HERE, "best", "squares", "--export", "--output", "export")
    interrupt(HERE)
    scrub(HERE)
    journals = {
        "finished": HERE / "results" / "squares" / "journal.jsonl",
        "reference": next((HERE / "results" / "baselines").glob("reference*")) / "journal.jsonl",
        "alone": HERE / "results" / "baselines" / "alone" / "journal.jsonl",
        "interrupted": HERE / "interrupted" / "squares" / "journal.jsonl",
    }
    told = {name: losses_of(path) for name, path in journals.items()}
    told |= {"machine": describe_machine(journals["finished"]), "outputs": record_outputs(HERE)}
    (HERE / "losses.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
