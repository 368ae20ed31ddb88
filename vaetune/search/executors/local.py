"""An executor that trains in this process."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from vaetune.data import ImageSet
from vaetune.device import ChosenDevice
from vaetune.evaluation import ImageLosses, Rescorer, rescorer_of
from vaetune.search.executors.base import PendingSearch, SourceTrial, TrialSource
from vaetune.study import describe_environment
from vaetune.training import OnProgress, Task, TrainedModel, TrainingContext, train_task


def local_executor(images: ImageSet, device: ChosenDevice) -> "LocalExecutor":
    """Returns an executor that trains on an image set in this process.

    Args:
        images: The image set. Its test images are not used.
        device: The device that TensorFlow was started on.
    """
    return LocalExecutor(TrainingContext(images), device)


class LocalExecutor:
    """Trains one model at a time, in this process; see `Executor`.

    Args:
        context: The images on the device and the compiled steps.
        device: The device that TensorFlow was started on.
    """

    workers = 1

    def __init__(self, context: TrainingContext, device: ChosenDevice) -> None:
        self.environment = describe_environment(device.name, device.threads)
        self._context = context

    def wait_until_ready(self, on_wait: Callable[[], None]) -> None:
        """Returns at once: this process is ready."""

    def run(self, searches: Iterable[PendingSearch], on_wait: Callable[[], None]) -> None:
        """Trains the searches one after the other; see `Executor.run`."""
        for search in searches:
            with search as source:
                if source is not None:
                    self._train_all(source)
                    self._repair(source)

    def _train_all(self, source: TrialSource) -> None:
        source.on_search_begin()
        while (trial := source.next_trial()) is not None:
            source.on_trial_begin(trial)
            while task := source.task_of(trial):
                self._train(source, trial, task)
            source.on_trial_end(trial)
        source.on_search_end()

    def _repair(self, source: TrialSource) -> None:
        """Recreates lost and damaged files of a search."""
        for trial, task in source.repairs():
            self._train(source, trial, task)
        source.remove_unneeded()

    def _train(self, source: TrialSource, trial: SourceTrial, task: Task) -> None:
        try:
            for message in train_task(task, self._context):
                source.record(trial, message)
        finally:
            source.flush()

    def measure(
        self,
        models: Sequence[TrainedModel],
        samples: int,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[ImageLosses]:
        """Measures models one after the other; see `Executor.measure`."""
        measured = []
        for done, model in enumerate(models):

            def report(share: float, done: int = done) -> None:
                if on_progress:
                    on_progress((done + share) / len(models))

            measured.append(self._rescorer.measure(model, samples, seed, report))
        return measured

    @cached_property
    def _rescorer(self) -> Rescorer:
        return rescorer_of(self._context)
