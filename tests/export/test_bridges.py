"""Optuna, TensorBoard and MLflow read the values of the journal."""

import io
import json
import math
import subprocess
import sys
import time
from contextlib import redirect_stderr
from datetime import UTC
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from journals import JournalBuilder, make_study, make_trial_events, write_search

from vaetune.config.space import Space
from vaetune.config.spec import Budget, SearchSpec
from vaetune.errors import ResultsError
from vaetune.export.bridges.runs import LOSSES, list_runs
from vaetune.export.bridges.to_tensorboard import list_metrics
from vaetune.export.bridges.write import opening_command, write_trials
from vaetune.export.manifest import build_manifest
from vaetune.export.model_index import list_measured
from vaetune.files import lock_results
from vaetune.study.builder import load_study

RECORD = Path(__file__).parents[1] / "record"
SPACE = Space.model_validate(
    {
        "filters_1": {"value": 8},
        "filters_2": {"min": 16, "max": 64, "scale": "log"},
        "dense_units": {"values": [32, 64]},
        "latent_dim": {"values": [2, 4, 8]},
        "learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"},
        "levels": {"values": [1, 2]},
        "level_channels": {"min": 2, "max": 6},
        "activation": {"values": ["relu", "gelu"]},
        "beta": {"min": 0.5, "max": 2},
    }
)
SEARCH = SearchSpec(space=SPACE, budget=Budget(max_epochs=3))


def values_of(number, **changes):
    """A configuration of `SPACE`. Configurations with an odd number have two levels."""
    found = {
        "filters_1": 8,
        "filters_2": 16 + number,
        "dense_units": 32,
        "latent_dim": 4,
        "learning_rate": 0.01 * 0.9**number,
        "levels": 1 + number % 2,
        "activation": ("relu", "gelu")[number % 2],
        "beta": 0.5 + number / 3,
    }
    if number % 2:
        found["level_channels"] = 2 + number
    return found | changes


def make_search(folder, reason="interrupted"):
    """A search with configurations in every state. Configurations 1 and 3 have two trials each.

    Args:
        folder: Folder of the search.
        reason: Why the session ended. With None, the journal has no end of the session.
    """
    builder = JournalBuilder(workers=1, search=SEARCH, folder=folder, name=folder.name)

    def train(second, trial_id, number, losses, after=0, **fields):
        start = {"configuration": number, "epoch_from": after, "epoch_to": after + len(losses)}
        start |= {"parent": f"000{number}", "rung": 1} if after else {}
        values = values_of(number)
        builder.begin(second, trial_id, None, **start, hyperparameters=values)
        for place, loss in enumerate(losses, start=1):
            builder.epoch(second + 10 * place, trial_id, after + place, loss)
        if fields:
            builder.finish(second + 10 * len(losses) + 5, trial_id, **fields)

    done = {"status": "completed"}
    train(100, "0000", 0, [210.123456789], **done, collapsed=True, active_units=0)
    train(200, "0001", 1, [190.5], **done, collapsed=False, active_units=3)
    train(300, "0002", 2, [math.nan], status="failed", error="The loss became nan.", failed_in=1)
    train(400, "0003", 3, [195.25], **done)
    train(500, "0004", 1, [180.75, 181.5], after=1, **done, parameters=70_000)
    failed = {"status": "failed", "error": "No memory.", "failed_in": 3, "parameters": None}
    train(600, "0005", 3, [185.0, math.inf], after=1, **failed)
    train(700, "0006", 4, [205.0])
    if reason:
        builder.end(900, reason)
    return builder.write()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_search(tmp_path_factory.mktemp("results") / "made")


@pytest.fixture(scope="module", params=["made", "recorded", "baseline"])
def study(request, made):
    """A search made from events, a recorded search and a baseline."""
    if request.param == "made":
        return made
    folder = {"recorded": "squares", "baseline": "baselines/small"}[request.param]
    return load_study(RECORD / "finished" / folder)


def curves(study):
    """The epochs of each configuration by number, taken from the trials."""
    found = {}
    for trial in study.trials:
        epochs = {epoch.epoch: epoch for epoch in trial.epochs}
        found.setdefault(trial.configuration, {}).update(epochs)
    return [found[number] for number in sorted(found)]


def last_trials(study):
    """The last trial of each configuration."""
    found = {trial.configuration: trial for trial in study.trials}
    return [found[number] for number in sorted(found)]


def first_trials(study):
    found = {trial.configuration: trial for trial in reversed(study.trials)}
    return [found[number] for number in sorted(found)]


def test_a_configuration_is_one_run_with_its_state(made):
    runs = list_runs(made)
    assert [run.name for run in runs] == [f"configuration-{number}" for number in range(5)]
    assert [run.state for run in runs] == ["pruned", "complete", "failed", "failed", "unfinished"]
    assert runs[1].facts()["trial_ids"] == "0001, 0004"
    assert [epoch.epoch for epoch in runs[1].epochs] == [1, 2, 3]
    assert runs[3].facts()["score"] == 185.0
    assert "collapsed" not in runs[3].facts(), "unknown values are absent"


# Optuna


@pytest.fixture(scope="module")
def in_tokyo():
    """Sets another time zone than that of the journal, because Optuna records local time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module", params=[".db", ".log"])
def in_optuna(request, study, tmp_path_factory, in_tokyo):
    """A study as Optuna loads it from a file."""
    import optuna

    path = write_trials(study, "optuna", tmp_path_factory.mktemp("optuna") / f"o#?{request.param}")
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    if path.suffix == ".log":
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
    else:
        simple = path.rename(path.with_name("simple.db"))  # A URL cannot contain `#` or `?`.
        storage = optuna.storages.RDBStorage(f"sqlite:///{simple}")
    yield optuna.load_study(study_name=None, storage=storage)
    if path.suffix == ".db":
        storage.remove_session()
        storage.engine.dispose()


def test_optuna_reads_the_trials_of_the_journal(study, in_optuna):
    from optuna.trial import TrialState

    assert in_optuna.study_name == study.address
    assert in_optuna.direction.name == "MINIMIZE"
    assert in_optuna.user_attrs["winner"] == study.winner.trial_id
    firsts, lasts = first_trials(study), last_trials(study)
    assert len(in_optuna.trials) == len(lasts)
    for found, first, last, curve in zip(
        in_optuna.trials, firsts, lasts, curves(study), strict=True
    ):
        assert found.params == dict(last.hyperparameters)
        assert list(map(type, found.params.values())) == [
            type(last.hyperparameters[name]) for name in found.params
        ]
        losses = {number: epoch.val_loss for number, epoch in curve.items()}
        assert repr(found.intermediate_values) == repr(losses)
        assert found.datetime_start.astimezone(UTC) == first.started
        assert found.user_attrs["configuration"] == last.configuration
        assert found.user_attrs.get("parameters") == (last.parameters or first.parameters)
        assert found.user_attrs.get("collapsed") == last.collapsed
        assert found.user_attrs.get("error") == last.error
        if last.status == "completed":
            is_longest = last.epoch_to == study.search.budget.max_epochs
            assert found.state == (TrialState.COMPLETE if is_longest else TrialState.PRUNED)
            assert found.value == min(filter(math.isfinite, losses.values()))
            assert found.datetime_complete.astimezone(UTC) == last.ended
        else:
            failed = last.status == "failed"
            assert found.state == (TrialState.FAIL if failed else TrialState.RUNNING)
            assert found.value is None
            assert (found.datetime_complete is not None) == failed


def test_optuna_has_the_distributions_of_the_search_space(made, tmp_path):
    import optuna
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    path = write_trials(made, "optuna", tmp_path / "made.log")
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    read = optuna.load_study(study_name="made", storage=optuna.storages.JournalStorage(backend))
    one, two = read.trials[:2]
    assert one.distributions == {
        "filters_1": CategoricalDistribution([8]),
        "filters_2": IntDistribution(16, 64, log=True),
        "dense_units": CategoricalDistribution([32, 64]),
        "latent_dim": CategoricalDistribution([2, 4, 8]),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "levels": CategoricalDistribution([1, 2]),
        "activation": CategoricalDistribution(["gelu", "relu"]),
        "beta": FloatDistribution(0.5, 2),
    }
    added = {"level_channels": IntDistribution(2, 6)}
    assert two.distributions == one.distributions | added
    assert read.metric_names == ["val_loss"]
    assert read.best_trial.user_attrs["trial_ids"] == "0001, 0004"


# TensorBoard


@pytest.fixture(scope="module")
def tensorboard_without_tensorflow():
    """Adds the module that keeps TensorBoard's readers from importing TensorFlow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))
        yield


@pytest.fixture(scope="module")
def in_tensorboard(study, tmp_path_factory, tensorboard_without_tensorflow):
    """The runs of a study as TensorBoard reads them: multiplexer and data provider."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer

    folder = write_trials(study, "tensorboard", tmp_path_factory.mktemp("board") / "runs")
    assert [one.name for one in folder.parent.iterdir()] == ["runs"]
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    return multiplexer, data_provider.MultiplexerDataProvider(multiplexer, str(folder))


def test_tensorboard_reads_the_losses_of_the_journal(study, in_tensorboard):
    multiplexer, _ = in_tensorboard
    runs = list_runs(study)
    assert set(multiplexer.Runs()) - {"."} == {run.name for run in runs}
    for run, curve in zip(runs, curves(study), strict=True):
        for name in LOSSES if curve else ():
            part = "validation" if name.startswith("val_") else "train"
            tag = f"{part}/{name.removeprefix('val_')}"
            found = multiplexer.Tensors(run.name, tag)
            assert [event.step for event in found] == sorted(curve)
            written = [event.tensor_proto.float_val[0] for event in found]
            journal = [getattr(curve[number], name) for number in sorted(curve)]
            np.testing.assert_array_equal(np.float32(written), np.float32(journal))
            times = [curve[number].time.timestamp() for number in sorted(curve)]
            assert [event.wall_time for event in found] == times


def test_the_hparams_tab_shows_configurations_scores_and_states(study, in_tensorboard):
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    _, provider = in_tensorboard
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=1000,
        allowed_statuses=[
            api_pb2.STATUS_UNKNOWN,
            api_pb2.STATUS_SUCCESS,
            api_pb2.STATUS_FAILURE,
            api_pb2.STATUS_RUNNING,
        ],
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    handler = list_session_groups.Handler(RequestContext(), context, "", request)
    groups = {group.name: group for group in handler.run().session_groups}
    runs = list_runs(study)
    assert set(groups) == {run.name for run in runs}
    for run, last in zip(runs, last_trials(study), strict=True):
        (session,) = groups[run.name].sessions
        shown = {
            name: value.string_value or value.number_value
            for name, value in groups[run.name].hparams.items()
        }
        assert shown == dict(last.hyperparameters)
        metrics = {one.name.tag: one.value for one in session.metric_values}
        if run.best:
            assert metrics["trial/score"] == np.float32(run.best.val_loss)
            assert metrics["validation/kl_loss"] == np.float32(run.epochs[-1].val_kl_loss)
        if last.active_units is not None:
            assert metrics["trial/active_units"] == last.active_units
        states = {"failed": api_pb2.STATUS_FAILURE, "completed": api_pb2.STATUS_SUCCESS}
        assert session.status == states.get(last.status, api_pb2.STATUS_UNKNOWN)
        assert session.start_time_secs == run.started.timestamp()


def test_the_hparams_tab_has_columns_for_the_searched_hyperparameters(
    made, tmp_path, tensorboard_without_tensorflow
):
    from tensorboard.backend.event_processing import event_file_loader
    from tensorboard.plugins.hparams import metadata

    folder = write_trials(made, "tensorboard", tmp_path / "runs")
    (file,) = folder.glob("events.out.tfevents.*")
    (summary,) = [
        value
        for event in event_file_loader.EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]
    found = metadata.parse_experiment_plugin_data(summary.metadata.plugin_data.content)
    columns = {one.name: one for one in found.hparam_infos}
    assert set(columns) == set(SPACE.searched())
    assert [value.number_value for value in columns["latent_dim"].domain_discrete.values] == [
        2,
        4,
        8,
    ]
    rate = columns["learning_rate"].domain_interval
    assert (rate.min_value, rate.max_value) == (1e-4, 1e-2)
    texts = [value.string_value for value in columns["activation"].domain_discrete.values]
    assert texts == ["gelu", "relu"]
    assert found.metric_infos[0].name.tag == "trial/score"


# MLflow


@pytest.fixture(scope="module")
def in_mlflow(study, tmp_path_factory):
    """MLflow's client, the experiment of a study and its runs in the order of configurations."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    with redirect_stderr(io.StringIO()) as printed:
        path = write_trials(study, "mlflow", folder / "study.db")
    assert printed.getvalue() == ""
    assert [one.name for one in folder.iterdir()] == ["study.db"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}")
    experiment = client.get_experiment_by_name(study.address)
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return client, experiment, sorted(runs, key=lambda run: int(run.data.tags["configuration"]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "study",
    ["made", pytest.param("recorded", marks=pytest.mark.long)],
    indirect=True,
    scope="module",
)
def test_mlflow_reads_the_runs_of_the_journal(study, in_mlflow):
    client, experiment, runs = in_mlflow
    assert experiment.tags["winner"] == study.winner.trial_id
    firsts, lasts = first_trials(study), last_trials(study)
    assert len(runs) == len(lasts)
    for found, run, first, last, curve in zip(
        runs, list_runs(study), firsts, lasts, curves(study), strict=True
    ):
        assert found.info.run_name == run.name
        assert found.data.params == {name: str(v) for name, v in last.hyperparameters.items()}
        for name in LOSSES if curve else ():
            history = client.get_metric_history(found.info.run_id, name)
            written = {one.step: (one.value, one.timestamp) for one in history}
            assert sorted(written) == sorted(curve)
            for number, epoch in curve.items():
                value, moment = written[number]
                journal = getattr(epoch, name)
                is_equal = value == journal or (math.isnan(value) and math.isnan(journal))
                # MLflow stores infinity as the largest number.
                assert is_equal or (math.isinf(journal) and value > 1e308)
                assert abs(moment - epoch.time.timestamp() * 1000) <= 0.5
        states = {"completed": "FINISHED", "failed": "FAILED"}
        assert found.info.status == states.get(last.status, "KILLED")
        assert found.data.tags["state"] == run.state
        collapsed = None if last.collapsed is None else str(last.collapsed)
        assert found.data.tags.get("collapsed") == collapsed
        assert abs(found.info.start_time - first.started.timestamp() * 1000) <= 0.5
        if run.best:
            assert found.data.metrics["score"] == run.best.val_loss
        if last.parameters:
            assert found.data.metrics["parameters"] == last.parameters


# Errors


@pytest.mark.parametrize(
    ("tool", "name", "message"),
    [
        ("wandb", "x", r"Unknown tool 'wandb'\. Expected one of: optuna, tensorboard, mlflow\."),
        ("optuna", "x", r"output for optuna must be a file that ends in \.db \(SQLite\) or \.log"),
        ("optuna", "taken.db", r"taken\.db exists and will not be overwritten"),
        ("tensorboard", "taken", "taken exists and will not be overwritten"),
        ("optuna", "taken.db/x.db", r"taken\.db.* cannot be written"),
    ],
)
def test_an_unknown_tool_or_unusable_output_is_refused(made, tmp_path, tool, name, message):
    (tmp_path / "taken.db").write_text("mine")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ResultsError, match=message):
        write_trials(made, tool, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"taken.db", "taken"}
    assert (tmp_path / "taken.db").read_text() == "mine"


def test_a_missing_library_is_named_with_the_command_that_installs_it(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ResultsError) as refused:
        write_trials(made, "mlflow", tmp_path / "m.db")
    assert str(refused.value) == "mlflow is not installed. Run: pip install 'vaetune[mlflow]'"


def test_a_running_search_is_refused_and_a_killed_one_is_not(tmp_path):
    study = make_search(tmp_path / "made", reason=None)
    with lock_results(study.folder), pytest.raises(ResultsError, match='"made" is running: '):
        write_trials(study, "optuna", tmp_path / "o.log")
    assert write_trials(study, "optuna", tmp_path / "o.log").exists()


def test_an_ended_search_can_be_written_while_an_evaluation_uses_the_folder(tmp_path):
    study = make_search(tmp_path / "made")
    with lock_results(study.folder):
        assert write_trials(study, "optuna", tmp_path / "o.log").exists()


def test_what_a_killed_process_left_is_removed(made, tmp_path):
    left = tmp_path / ".board.tmp"
    left.mkdir()
    (left / "half").write_text("half an event file")
    board = write_trials(made, "tensorboard", tmp_path / "board")
    assert not left.exists()
    assert not (board / "half").exists()


def test_a_search_without_trials_is_refused_with_the_command_that_continues_it(tmp_path):
    study = load_study(write_search(tmp_path / "results", "empty").parent)
    with pytest.raises(ResultsError, match=r'"empty" has no trials yet\. .*`vaetune search empty'):
        write_trials(study, "optuna", tmp_path / "o.log")


def test_the_command_that_opens_an_output_quotes_the_path():
    assert opening_command("optuna", Path("a b.db")) == "optuna-dashboard sqlite:///'a b.db'"
    assert opening_command("optuna", Path("a.log")) == "optuna-dashboard a.log"
    assert opening_command("tensorboard", Path("runs.db")) == "tensorboard --logdir runs.db"
    assert opening_command("mlflow", Path("/m.db")) == (
        "mlflow ui --backend-store-uri sqlite:////m.db"
    )


def test_event_files_are_written_without_tensorflow(made, tmp_path):
    script = (
        "import json, sys\n"
        "import vaetune\n"
        "study = vaetune.load_study(sys.argv[1])\n"
        "vaetune.write_trials(study, 'tensorboard', sys.argv[2] + '/runs')\n"
        "print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(made.folder), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert done.stderr == ""
    assert "tensorboard" in loaded, "the list contains modules that are loaded"
    assert not {"tensorflow", "keras"} & loaded


# Another objective


@pytest.fixture(scope="module")
def by_accuracy():
    """Two configurations; the second has the better accuracy and the higher loss."""
    search = SEARCH.model_copy(update={"objective": "knn_accuracy"})
    events = [
        *make_trial_events("0000", [200.0, 150.0], uses=[0.5, 0.6], epoch_to=3),
        *make_trial_events("0001", [210.0, 205.0], uses=[0.9, 0.8], configuration=1, epoch_to=3),
    ]
    return make_study(*events, search=search)


def test_optuna_maximizes_an_accuracy(by_accuracy, tmp_path):
    import optuna

    path = write_trials(by_accuracy, "optuna", tmp_path / "study.log")
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    found = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert (found.direction.name, found.metric_names) == ("MAXIMIZE", ["knn_accuracy"])
    assert (found.best_value, found.best_trial.number) == (0.9, 1)
    assert found.trials[0].intermediate_values == {1: 0.5, 2: 0.6}
    assert found.user_attrs["objective"] == "knn_accuracy"


def test_runs_have_the_accuracy_in_addition_to_the_losses(by_accuracy, made):
    runs = list_runs(by_accuracy)
    assert [run.facts()["score"] for run in runs] == [0.6, 0.9]
    assert [run.facts()["best_epoch"] for run in runs] == [2, 1]
    values = runs[1].values(runs[1].epochs[0])
    assert (values["knn_accuracy"], values["val_loss"]) == (0.9, 210.0)
    titles = list_metrics(by_accuracy)
    assert titles["trial/score"] == "highest knn_accuracy"
    assert titles["validation/knn_accuracy"] == "last knn_accuracy"
    assert list_metrics(made)["trial/score"] == "lowest val_loss"
    assert set(list_runs(made)[0].values(list_runs(made)[0].epochs[0])) == set(LOSSES)


def test_the_card_and_the_manifest_have_the_accuracy(by_accuracy):
    (measured,) = list_measured(by_accuracy, by_accuracy.winner)
    assert measured.metrics[0] == ("knn_accuracy", '"kNN accuracy"', "0.9000")
    assert build_manifest(by_accuracy, by_accuracy.winner)["validation"]["knn_accuracy"] == 0.9
