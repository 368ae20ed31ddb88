"""Which configurations train with compiled programs. These tests compile nothing."""

from dataclasses import replace
from functools import partial
from threading import Event, current_thread
from time import sleep

import pytest
import tensorflow as tf
from image_sets import make_images
from tiny_searches import IMAGES, TINY, TINY_REFERENCE, changed

from vaetune.config.compilation import planned_steps
from vaetune.config.space import Choice, Range
from vaetune.config.spec import Budget, Training, single_configuration
from vaetune.models.architecture import Architecture
from vaetune.study.records import Assignment
from vaetune.training.context import TrainingContext
from vaetune.training.padded.ahead import Compilation, compile_in_background
from vaetune.training.padded.plan import program_of
from vaetune.training.padded.runner import PaddedRunner
from vaetune.training.tasks import Began, Compiling, Progressed, Task
from vaetune.training.trial import train_task

VALUES = {**TINY_REFERENCE, "latent_dim": 2, "learning_rate": 0.01}
PADDED = changed(TINY, training=Training(batch_size=8, compile="padded"))


@pytest.fixture
def gpu(monkeypatch):
    """Makes TensorFlow list a GPU."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])


def runner_of(values=VALUES, spec=PADDED, context=None, images=40):
    context = context or TrainingContext(IMAGES)
    return context.runner(values, program=program_of(spec, values, images))


def test_a_program_has_the_largest_widths_of_the_space():
    program = program_of(PADDED, {**VALUES, "learning_rate": 0.05}, 40)
    widest = {"filters_1": 3, "filters_2": 4, "dense_units": 5, "latent_dim": 3}
    assert program.widest == {**widest, "learning_rate": 0.05}
    assert program.batch_size == 8
    assert program_of(PADDED, VALUES, 5).batch_size == 5
    assert program_of(PADDED, {**VALUES, "batch_size": 4}, 40).batch_size == 4


def test_on_a_cpu_programs_are_used_only_on_request():
    assert program_of(TINY, VALUES, 40) is None
    assert not isinstance(runner_of(spec=TINY), PaddedRunner)
    assert isinstance(runner_of(), PaddedRunner)


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_programs_pay_off_if_the_search_has_enough_steps():
    # 11 epochs of 1,000 steps and of 8 steps.
    auto = PADDED.with_compile("auto")
    assert program_of(auto, VALUES, 8000).pays
    assert not program_of(auto, VALUES, 64).pays
    assert program_of(PADDED.with_compile("none"), VALUES, 8000) is None
    fields = {"activation": Choice(values=("relu", "gelu")), "learning_rate": Range(min=0.1, max=1)}
    two_programs = changed(auto, space=TINY.space.model_copy(update=fields))
    assert not program_of(two_programs, VALUES, 8000).pays


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, 11),
        ({"budget": Budget(max_epochs=3, hyperband_iterations=2)}, 22),
        ({"algorithm": "random", "budget": Budget(max_epochs=4, max_trials=5)}, 20),
        ({"algorithm": "freeze_thaw", "budget": Budget(max_epochs=4, total_epochs=17)}, 17),
    ],
)
def test_planned_steps_are_those_of_the_budget(changes, epochs):
    assert planned_steps(changed(TINY, **changes), 10) == epochs * 10


def test_an_existing_program_is_used_even_if_compiling_does_not_pay_off():
    context = TrainingContext(IMAGES)
    not_paying = replace(program_of(PADDED, VALUES, 40), pays=False)
    assert not isinstance(context.runner(VALUES, program=not_paying), PaddedRunner)
    padded = runner_of(context=context)
    padded._programs[8] = None  # The first call adds this entry.
    assert context.runner(VALUES, program=not_paying) is padded
    assert context.exact_runner(VALUES, "bernoulli") is padded
    other = replace(not_paying, batch_size=4)
    assert not isinstance(context.runner(VALUES, program=other), PaddedRunner)


def test_models_that_do_not_fit_train_with_uncompiled_steps():
    context = TrainingContext(IMAGES)
    assert isinstance(runner_of(context=context), PaddedRunner)
    assert not isinstance(runner_of({**VALUES, "dense_units": 9}, context=context), PaddedRunner)


def test_at_most_eight_programs_are_compiled():
    context = TrainingContext(IMAGES)
    runner_of(context=context)._programs.update(dict.fromkeys(range(100, 107)))
    elu = {**VALUES, "activation": "elu"}
    assert isinstance(runner_of(elu, context=context), PaddedRunner)
    runner_of(context=context)._programs[107] = None
    gelu = {**VALUES, "activation": "gelu"}
    assert not isinstance(runner_of(gelu, context=context), PaddedRunner)


def test_images_on_the_disk_train_with_uncompiled_steps(monkeypatch):
    context = TrainingContext(make_images())
    monkeypatch.setattr("vaetune.training.context.DiskImages", type(context.data.train))
    assert not isinstance(runner_of(context=context), PaddedRunner)


def test_narrow_filters_get_narrower_programs_if_the_range_is_wide():
    filters = {"filters_1": Choice(values=(8, 16, 512)), "filters_2": Choice(values=(16, 64))}
    space = TINY.space.model_copy(update=filters)
    spec = changed(PADDED, space=space)

    def widths(**values):
        widest = program_of(spec, {**VALUES, **values}, 40).widest
        return widest["filters_1"], widest["filters_2"], widest["dense_units"]

    assert widths(filters_1=512, filters_2=16) == (512, 64, 5)
    assert widths(filters_1=16, filters_2=64) == (512, 64, 5)
    assert widths(filters_1=16, filters_2=17) == (256, 32, 5)
    assert widths(filters_1=8, filters_2=16) == (128, 16, 5)
    assert space.programs() == 3
    narrow = space.model_copy(update={"filters_1": Choice(values=(16, 64))})
    assert narrow.programs() == 1
    assert narrow.program_widths({**VALUES, "filters_1": 16, "filters_2": 16})["filters_1"] == 64


def test_each_size_of_filters_has_its_own_program():
    filters = {"filters_1": Choice(values=(8, 64)), "filters_2": Choice(values=(8, 64))}
    spec = changed(PADDED, space=TINY.space.model_copy(update=filters))
    context, narrow = TrainingContext(IMAGES), {**VALUES, "filters_1": 8, "filters_2": 8}
    small = runner_of(narrow, spec, context)
    large = runner_of({**narrow, "filters_1": 64}, spec, context)
    assert small is not large
    assert runner_of({**narrow, "dense_units": 5}, spec, context) is small
    assert context.exact_runner(narrow, "bernoulli") in (small, large)
    assert context.exact_runner({**narrow, "filters_1": 64}, "bernoulli") is large


@pytest.fixture
def started_compilations(monkeypatch):
    """The compilations that are started in the background. None of them runs."""
    started = []
    monkeypatch.setattr("vaetune.training.context.compile_in_background", started.extend)
    return started


def with_activations(*activations):
    choice = {"activation": Choice(values=activations)} if activations else {}
    return changed(PADDED, space=TINY.space.model_copy(update=choice))


def test_all_programs_of_a_search_are_compiled_ahead(started_compilations):
    context, spec = TrainingContext(IMAGES), with_activations("relu", "gelu")
    runner = context.training_runner(spec, {**VALUES, "activation": "gelu"})
    assert runner.is_compiling
    other = context.training_runner(spec, {**VALUES, "activation": "relu"})
    assert other is not runner
    # Training and validation of each program, those of the first trial first.
    assert started_compilations == [*runner._compilations, *other._compilations]
    assert len(started_compilations) == 4


def test_compilations_that_the_search_may_not_need_are_left_out(started_compilations, monkeypatch):
    monkeypatch.setattr("vaetune.training.context.MAX_PROGRAMS", 2)
    context, spec = TrainingContext(IMAGES), with_activations("relu", "gelu", "elu")
    runner = context.training_runner(spec, {**VALUES, "activation": "gelu"})
    assert started_compilations == runner._compilations


def test_a_training_with_the_program_of_a_search_compiles_no_other(started_compilations):
    values = {**VALUES, "activation": "gelu"}
    single = single_configuration(values, 3, like=PADDED)
    search = with_activations("relu", "gelu")
    runner = TrainingContext(IMAGES).training_runner(single, values, search)
    assert started_compilations == runner._compilations
    assert runner.holds(Architecture.of(IMAGES.image_shape, {**values, "filters_1": 3}))


@pytest.mark.usefixtures("gpu")
def test_a_program_may_repay_the_training_or_the_search():
    auto = PADDED.with_compile("auto")
    many = {"activation": Choice(values=("relu", "gelu")), "blocks": Range(min=0, max=7)}
    search = changed(auto, space=TINY.space.model_copy(update=many))
    short, long_training = (single_configuration(VALUES, epochs, like=auto) for epochs in (3, 30))
    assert not program_of(short, VALUES, 8000, search).pays
    assert program_of(long_training, VALUES, 8000, search).pays
    assert program_of(short, VALUES, 8000, auto).pays


@pytest.mark.parametrize("wanted", ["none", "auto"])
def test_without_programs_nothing_is_compiled_ahead(started_compilations, wanted):
    runner = TrainingContext(IMAGES).training_runner(PADDED.with_compile(wanted), VALUES)
    assert not isinstance(runner, PaddedRunner)
    assert not runner.is_compiling
    assert not started_compilations


def test_a_model_waits_for_the_compilations_of_its_program(started_compilations):
    context = TrainingContext(IMAGES)
    runner = context.training_runner(PADDED, VALUES)
    done = []
    for number, compilation in enumerate(runner._compilations):
        compilation._compile_now = partial(done.append, number)
    runner.begin(context.draw_weights(VALUES, "bernoulli"), 0.01)
    assert done == [0, 1]
    assert not runner.is_compiling


def test_a_compilation_runs_once_and_does_not_raise_its_error():
    calls, may_end = [], Event()

    def compile_now():
        calls.append(current_thread().name)
        may_end.wait(10)
        raise ValueError

    compilation = Compilation(compile_now)
    compile_in_background([compilation])
    while not calls:
        sleep(0.001)
    assert not compilation.is_done
    may_end.set()
    compilation.finish()
    assert compilation.is_done
    assert calls == ["vaetune-compiler"]


def test_a_trial_reports_progress_while_its_steps_are_compiled(started_compilations):
    trial = Assignment(
        trial_id="0000",
        configuration=0,
        parent=None,
        bracket=0,
        rung=0,
        epoch_from=0,
        epoch_to=1,
        hyperparameters=VALUES,
    )
    messages = train_task(Task(PADDED, (trial,), None), TrainingContext(IMAGES))
    assert isinstance(next(messages), Compiling)
    # A search can be interrupted at each of these messages.
    assert {type(next(messages)) for _ in range(3)} == {Progressed}
    for compilation in started_compilations:
        compilation.is_done = True
    assert any(isinstance(next(messages), Began) for _ in range(2))
