"""Ray workers that follow orders of a test.

This module imports little, because the worker processes import it too. A `ScriptedWorker` trains
models. A `CountingWorker` only counts epochs, needs no TensorFlow and starts within a second.
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
from vaetune.study.collapse import LatentUse
from vaetune.training.tasks import Began, Completed, EpochDone, Failed, Progressed, TimeUp

ORDERS_FOLDER = "VAETUNE_TEST_ORDERS"
"""Environment variable of workers with the path of the folder of the orders."""

END = "end"
"""Used instead of an epoch number: the time between the last message of a trial and its end."""

PATIENCE_S = 300.0
"""Seconds after which a test that waits for a process fails."""


def wait_until(done, what):
    """Waits until `done` returns something true, and returns it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline_s, f"timed out waiting for {what}"
        time.sleep(0.02)
    return found


class Orders:
    """Orders to workers, and notes of the workers, as files in a folder.

    Arguments `configuration` and `epoch` are numbers.
    """

    def __init__(self, folder):
        self._folder = Path(folder)

    @classmethod
    def of_this_process(cls):
        return cls(os.environ[ORDERS_FOLDER])

    def clear(self):
        for path in self._folder.iterdir():
            path.unlink()

    # For the test

    def hold(self, configuration, epoch):
        """Makes the worker of this epoch wait for `release` before it reports the trained epoch."""
        (self._folder / f"hold-{configuration}-{epoch}").touch()

    def release(self, configuration, epoch):
        (self._folder / f"held-{configuration}-{epoch}").unlink(missing_ok=True)
        (self._folder / f"hold-{configuration}-{epoch}").unlink()

    def waiting_process(self, configuration, epoch):
        """The id of the process that waits in an epoch; None if no process waits."""
        with suppress(FileNotFoundError, ValueError):
            return int((self._folder / f"held-{configuration}-{epoch}").read_text())
        return None

    def kill(self, configuration, epoch):
        """Kills the process that waits in an epoch. The next worker does not wait."""
        os.kill(self.waiting_process(configuration, epoch), signal.SIGKILL)
        self.release(configuration, epoch)

    def give(self, order):
        """Gives an order to follow once, such as "die-1": kill the worker of configuration 1."""
        (self._folder / order).touch()

    def give_always(self, order):
        """Gives an order to follow every time."""
        (self._folder / f"{order}-always").touch()

    @property
    def trained(self):
        """The number of times that each configuration and epoch was trained."""
        lines = self.read("trained")
        return Counter(tuple(int(number) for number in line.split()) for line in lines)

    @property
    def ready(self):
        """The process ids of `AnnouncedWorker`s, in the order in which they became ready."""
        return [int(line) for line in self.read("ready")]

    def read(self, name):
        """The lines that workers wrote to the note with a name."""
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []

    # For workers

    def has_order(self, order):
        if (self._folder / f"{order}-always").exists():
            return True
        try:
            (self._folder / order).unlink()
        except FileNotFoundError:
            return False
        return True

    def crash_if_ordered(self, order):
        if self.has_order(order):
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, name, line):
        with (self._folder / name).open("a") as file:
            file.write(f"{line}\n")

    def follow(self, configuration, epoch):
        """Follows the orders for an epoch that is trained but not yet reported."""
        self.note("trained", f"{configuration} {epoch}")
        self.wait_if_held(configuration, epoch)
        self.crash_if_ordered(f"die-{configuration}")

    def wait_if_held(self, configuration, epoch):
        hold = self._folder / f"hold-{configuration}-{epoch}"
        if hold.exists():
            (self._folder / f"held-{configuration}-{epoch}").write_text(str(os.getpid()))
            wait_until(lambda: not hold.exists(), "permission to continue")


class ScriptedWorker(Worker):
    """Trains models and follows orders. Graphs are not optimized, as in the test process."""

    def describe(self):
        described = super().describe()
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        return described

    def run(self, task):
        orders = Orders.of_this_process()
        configurations = {part.trial_id: part.configuration for part in task.lineage}
        if any(orders.has_order(f"run-out-{number}") for number in configurations.values()):
            _run_out_of_memory_once()
        for message in self._train(task):
            if isinstance(message, EpochDone):
                ended = message.ended
                orders.follow(configurations[ended.trial_id], ended.epoch)
            yield message
        for configuration in configurations.values():
            orders.wait_if_held(configuration, END)

    def _train(self, task):
        return super().run(task)

    def measure(self, model, samples, seed):
        Orders.of_this_process().crash_if_ordered("die-measuring")
        return super().measure(model, samples, seed)


def _run_out_of_memory_once():
    """Makes the next epoch of this process fail with a transient error."""
    import tensorflow as tf

    from vaetune.training.runner import EpochRunner

    train = EpochRunner.train_in_parts

    def run_out(self, epoch):
        EpochRunner.train_in_parts = train
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    EpochRunner.train_in_parts = run_out


class MemoryWorker(Worker):
    """Records the numbers of its images, and the private memory that it needs to begin a trial."""

    def run(self, task):
        before = _own_memory()
        for message in super().run(task):
            if isinstance(message, Began):
                break
        counts = [len(part) for part in (self._images.train, self._images.validation)]
        counts += [len(self._images.test), _own_memory() - before]
        Orders.of_this_process().note("memory", " ".join(map(str, counts)))
        yield message
        yield Failed("Its memory is measured.", "no traceback", None, is_transient=False)


def _own_memory():
    """Private memory of this process in bytes, without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return 1024 * int(line.split()[1])


class CountingWorker(ScriptedWorker):
    """Counts epochs instead of training, without TensorFlow.

    The name of its device contains the numbers of the GPUs that it sees.
    """

    def describe(self):
        orders = Orders.of_this_process()
        orders.crash_if_ordered("die-early")
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
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
                if orders.has_order(f"fail-{part.configuration}"):
                    yield Failed("It was ordered to.", "no traceback", epoch, is_transient=False)
                    return
                state = _count(part.configuration, epoch, state)
                yield EpochDone(_ended(part.trial_id, state), state)
            continues_trial = False
        use = latent_use_of(state.weights[0])
        yield Completed(state.best_val_loss, _artifacts(self._images), use)

    def measure(self, model, samples, seed):
        orders = Orders.of_this_process()
        orders.crash_if_ordered("die-measuring")
        orders.note("measured", os.getpid())
        return _Losses(loss_of(model.weights[0]) + np.arange(samples, dtype=np.float64))


class AnnouncedWorker(CountingWorker):
    """A `CountingWorker` that records its process id when it is ready."""

    def describe(self):
        described = super().describe()
        Orders.of_this_process().note("ready", os.getpid())
        return described


def _count(configuration, epoch, before):
    """A checkpoint after an epoch. Its weights are the configuration's number and its epochs."""
    history = before.weights[0] if before else np.array([configuration], np.float32)
    history = np.append(history, np.float32(epoch))
    loss = loss_of(history)
    return Checkpoint(epoch, (history,), (history,), epoch, loss, (history,))


def latent_use_of(history):
    """The latent use after some epochs. A third of the configurations collapses."""
    return LatentUse(2, 0.25 if history[0] % 3 == 1 else 7.5)


def loss_of(history):
    """A loss that decreases with each epoch, and changes if an epoch is missing or repeated.

    No two configurations have equal losses. Trial ids would break such a tie, and they depend on
    the order in which workers ask for trials.
    """
    configuration, epochs = int(history[0]), history[1:]
    of_configuration = (7 * configuration) % 5 + configuration / 256
    return 100.0 + of_configuration + 40 / float(np.sum(epochs * 2 ** np.arange(epochs.size)))


def _ended(trial_id, state):
    return make_epoch(trial_id, state.epoch, state.best_val_loss)


def _artifacts(images):
    pixels = np.zeros((2, *images.image_shape), np.uint8)
    return Artifacts(pixels, pixels, np.zeros((2, 2), np.float32), None)


class _Losses:
    """Losses that become an `ImageLosses` when they are unpickled."""

    def __init__(self, losses):
        self._losses = losses

    def __reduce__(self):
        return _to_image_losses, (self._losses,)


def _to_image_losses(losses):
    from vaetune.evaluation.rescore import ImageLosses

    return ImageLosses(losses, np.zeros_like(losses))


class CallbackWatcher:
    """A watcher that calls functions of a test, and counts the waits.

    Args:
        on_event: Function that is called with each event.
        on_wait: Function that is called while no worker sends a message. All earlier messages are
            recorded by then.
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
def ray_workers(ray, workers, images, resources, worker_class=CountingWorker):
    """Yields an executor with workers on a running Ray."""
    from vaetune.search.executors.ray_executor import RayExecutor

    executor = RayExecutor(ray, workers, resources, images, "cpu", worker_class)
    try:
        yield executor
    finally:
        executor.shut_down()


def run_on(executor, results, spec, images, watcher=None, deadline_s=None, name="tiny"):
    """Starts or continues a search on workers."""
    from vaetune.config.search_file import ResolvedSearch
    from vaetune.search.phases import run_session
    from vaetune.search.session import open_search

    resolved, device = ResolvedSearch(name, spec, {}), ChosenDevice("CPU", 1)
    executor.wait_until_ready(lambda: None)
    with open_search(resolved, images, device, results) as opened:
        return run_session(opened, watcher, deadline_s, executor)
