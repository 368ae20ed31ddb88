"""Workers that do as a test tells them, on Ray; imported in their processes too, where it is light.

Real ones train; made-up ones only count epochs, know no TensorFlow, and are there in a second.
"""

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from journals import make_environment, make_epoch

from vaetune.device import ChosenDevice
from vaetune.search.executors.ray_worker import Worker
from vaetune.study.artifacts import Artifacts
from vaetune.study.checkpoint import Checkpoint
from vaetune.training.tasks import Began, Completed, EpochDone, Failed, Progressed, TimeUp

FOLDER = "VAETUNE_TEST_ORDERS"
"""In the environment of workers: where they look for orders."""

END = "end"
"""In the place of an epoch: when all is told of a trial, but for that there is no more to come."""

PATIENCE_S = 120.0
"""After which a test that waits for a process gives up."""


def wait_until(done, what):
    """Waits for what another process does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.02)
    return found


class Orders:
    """What workers are told, and what they tell, as files in a folder.

    Configurations and epochs are named by their numbers.
    """

    def __init__(self, folder):
        self._folder = Path(folder)

    @classmethod
    def of_this_process(cls):
        return cls(os.environ[FOLDER])

    def clear(self):
        for path in self._folder.iterdir():
            path.unlink()

    # For the test

    def hold(self, configuration, epoch):
        """Whoever trained this epoch waits before it tells of it, until it is let go."""
        (self._folder / f"hold-{configuration}-{epoch}").touch()

    def let_go(self, configuration, epoch):
        (self._folder / f"held-{configuration}-{epoch}").unlink(missing_ok=True)
        (self._folder / f"hold-{configuration}-{epoch}").unlink()

    def held(self, configuration, epoch):
        """The process that waits there; None before one does."""
        with suppress(FileNotFoundError, ValueError):
            return int((self._folder / f"held-{configuration}-{epoch}").read_text())
        return None

    def kill(self, configuration, epoch):
        """Kills the process that waits there, and lets the next one pass."""
        os.kill(self.held(configuration, epoch), signal.SIGKILL)
        self.let_go(configuration, epoch)

    def tell(self, order):
        """Gives an order that is obeyed once, such as "die-1": in configuration 1."""
        (self._folder / order).touch()

    def tell_always(self, order):
        """Gives an order that is obeyed each time."""
        (self._folder / f"{order}-always").touch()

    @property
    def trained(self):
        """How often each configuration and epoch was trained, whatever became of it."""
        lines = self.read("trained")
        return Counter(tuple(int(number) for number in line.split()) for line in lines)

    @property
    def ready(self):
        """The processes of the workers that came up, in order."""
        return [int(line) for line in self.read("ready")]

    def read(self, name):
        """The lines that workers noted under a name."""
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []

    # For workers

    def is_told(self, order):
        if (self._folder / f"{order}-always").exists():
            return True
        try:
            (self._folder / order).unlink()
        except FileNotFoundError:
            return False
        return True

    def die_if_told(self, order):
        if self.is_told(order):
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, name, line):
        with (self._folder / name).open("a") as file:
            file.write(f"{line}\n")

    def obey(self, configuration, epoch):
        """Called when an epoch is trained and nobody is told of it yet."""
        self.note("trained", f"{configuration} {epoch}")
        self.wait_if_held(configuration, epoch)
        self.die_if_told(f"die-{configuration}")

    def wait_if_held(self, configuration, epoch):
        hold = self._folder / f"hold-{configuration}-{epoch}"
        if hold.exists():
            (self._folder / f"held-{configuration}-{epoch}").write_text(str(os.getpid()))
            wait_until(lambda: not hold.exists(), "leave to go on")


class ObedientWorker(Worker):
    """Trains for real, and obeys orders."""

    def describe(self):
        described = super().describe()
        Orders.of_this_process().note("ready", os.getpid())
        return described

    def run(self, task):
        orders = Orders.of_this_process()
        configurations = {part.trial_id: part.configuration for part in task.lineage}
        if any(orders.is_told(f"run-out-{number}") for number in configurations.values()):
            _run_out_of_memory_once()
        for message in self._train(task):
            if isinstance(message, EpochDone):
                ended = message.ended
                orders.obey(configurations[ended.trial_id], ended.epoch)
            yield message
        for configuration in configurations.values():
            orders.wait_if_held(configuration, END)

    def _train(self, task):
        return super().run(task)

    def measure(self, weights, samples, seed):
        Orders.of_this_process().die_if_told("die-measuring")
        return super().measure(weights, samples, seed)


def _run_out_of_memory_once():
    """Lets the next epoch that is trained in this process fail, in a way that may pass."""
    import tensorflow as tf

    from vaetune.training.runner import EpochRunner

    train = EpochRunner.train_in_parts

    def run_out(self, epoch):
        EpochRunner.train_in_parts = train
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    EpochRunner.train_in_parts = run_out


class WeighingWorker(Worker):
    """Tells how many images it got, and what of its own memory it takes to begin a trial."""

    def run(self, task):
        before = _own_memory()
        for message in super().run(task):
            if isinstance(message, Began):
                break
        counts = [len(part) for part in (self._images.train, self._images.validation)]
        counts += [len(self._images.test), _own_memory() - before]
        Orders.of_this_process().note("weighed", " ".join(map(str, counts)))
        yield message
        yield Failed("It is weighed.", "no traceback", None, is_transient=False)


def _own_memory():
    """Bytes that this process alone has, as opposed to those that it maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return 1024 * int(line.split()[1])


class MadeUpWorker(ObedientWorker):
    """Counts the epochs that it is to train; knows no TensorFlow.

    Its device tells which GPUs it sees.
    """

    def describe(self):
        orders = Orders.of_this_process()
        orders.die_if_told("die-early")
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        orders.note("ready", os.getpid())
        return "made-up", make_environment(device=f"GPU {gpus}" if gpus else "CPU", command=())

    def _train(self, task):
        deadline_s = time.monotonic() + task.seconds_left
        orders, state, continues_trial = Orders.of_this_process(), task.start, task.continues_trial
        for part in task.lineage:
            yield Began(part.trial_id, 7)
            own = state if continues_trial else None
            for epoch in range((own.epoch if own else part.epoch_from) + 1, part.epoch_to + 1):
                if time.monotonic() >= deadline_s:
                    yield TimeUp()
                    return
                yield Progressed(part.trial_id, epoch, 0.0)
                if orders.is_told(f"fail-{part.configuration}"):
                    yield Failed("It was told to.", "no traceback", epoch, is_transient=False)
                    return
                state = _count(part.configuration, epoch, state)
                yield EpochDone(_ended(part.trial_id, state), state)
            continues_trial = False
        yield Completed(state.best_val_loss, _make_up_pictures(self._images))

    def measure(self, weights, samples, seed):
        orders = Orders.of_this_process()
        orders.die_if_told("die-measuring")
        orders.note("measured", os.getpid())
        return _MadeUp(loss_of(weights[0]) + np.arange(samples, dtype=np.float64))


def _count(configuration, epoch, before):
    """The state of a configuration after an epoch: its number, and every epoch that it had."""
    history = before.weights[0] if before else np.array([configuration], np.float32)
    history = np.append(history, np.float32(epoch))
    loss = loss_of(history)
    return Checkpoint(epoch, (history,), (history,), epoch, loss, (history,))


def loss_of(history):
    """Falls with every epoch; an epoch that was left out or had twice shows."""
    configuration, epochs = int(history[0]), history[1:]
    return (
        100.0 + (7 * configuration) % 5 + 40 / float(np.sum(epochs * 2 ** np.arange(epochs.size)))
    )


def _ended(trial_id, state):
    return make_epoch(trial_id, state.epoch, state.best_val_loss)


def _make_up_pictures(images):
    pixels = np.zeros((2, *images.image_shape), np.uint8)
    return Artifacts(pixels, pixels, np.zeros((2, 2), np.float32), None)


class _MadeUp:
    """What a worker measured; it becomes a `ImageLosses` where it arrives."""

    def __init__(self, losses):
        self._losses = losses

    def __reduce__(self):
        return _as_measured, (self._losses,)


def _as_measured(losses):
    from vaetune.evaluation.rescore import ImageLosses

    return ImageLosses(losses, np.zeros_like(losses))


class Watching:
    """Does what a test wants when something happens, and remembers what did.

    Args:
        on_event: Called with each event.
        on_wait: Called when nothing was heard for a while: whatever workers told was taken.
    """

    def __init__(self, on_event=None, on_wait=None):
        self._on_event, self._on_wait = on_event, on_wait
        self.waits = 0

    def on_event(self, run, event):
        if self._on_event:
            self._on_event(event)

    def on_progress(self, run, trial_id, share):
        pass

    def on_wait(self):
        self.waits += 1
        if self._on_wait:
            self._on_wait()


@contextmanager
def crew_of(ray, workers, images, share, worker_class=MadeUpWorker):
    """Workers on a Ray that is up."""
    from vaetune.search.executors.ray_executor import RayExecutor

    executor = RayExecutor(ray, workers, share, images, "cpu", worker_class)
    try:
        yield executor
    finally:
        executor.shut_down()


def run_on(executor, results, spec, images, watcher=None, deadline_s=None, name="tiny"):
    """Runs a search on workers, or goes on with it."""
    from vaetune.config.search_file import ResolvedSearch
    from vaetune.search.phases import run_session
    from vaetune.search.session import open_search

    resolved, device = ResolvedSearch(name, spec, {}), ChosenDevice("CPU", 1)
    executor.wait_until_ready(lambda: None)
    with open_search(resolved, images, device, results) as opened:
        return run_session(opened, watcher, deadline_s, executor)
