"""Settings to make before test modules import TensorFlow and NumPy, and fixtures of all tests."""

import gc
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

HERE = Path(__file__).parent

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# With several threads, which wait for one another, simulations and Gaussian processes take 40 %
# longer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# XLA's optimizations take as long as a test itself. Tests check results, not speed.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# Objects from imports live until the process ends. Without the freeze below, each garbage
# collection would scan them, which takes a tenth of the time of the tests.
gc.disable()


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()


def pytest_addoption(parser):
    parser.addoption(
        "--order-seed", type=int, help="Run modules, and the tests in each, in a random order."
    )


def pytest_report_header(config):
    seed = config.getoption("order_seed")
    return None if seed is None else f"random order: --order-seed {seed}"


LONGEST_FIRST = (
    "search/executors/test_ray_executor",
    "export/test_levels",
    "end_to_end/test_browser",
    "end_to_end/test_workers",
    "end_to_end/test_notebook",
    "models/test_vae",
    "training/test_structures",
    "report/test_live",
    "search/test_session",
    "cli/test_search",
    "training/test_padded",
    "end_to_end/test_docs",
    "search/test_tuner",
    "cli/test_train",
    "end_to_end/test_record",
    "evaluation/test_scoring",
    "contracts/test_python_door",
    "data/test_images",
    "end_to_end/test_crash",
    "report/test_page",
    "cli/test_evaluate",
    "training/test_steps",
    "cli/test_app",
    "export/test_model_card",
    "search/preflight/test_probe",
)
"""Modules that take longest. If one of them started last, the other workers would wait for it.

Modules that wait for Ray are not next to each other, so that another worker can use the CPU
meanwhile.
"""


def pytest_collection_modifyitems(config, items):
    """Puts the longest modules first, or shuffles modules and their tests with the seed.

    All workers of pytest-xdist use the same order.
    """
    modules = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    seed = config.getoption("order_seed")
    if seed is None:
        order = sorted(modules.values(), key=_place_of_module)
    else:
        generator = random.Random(seed)
        for tests in modules.values():
            generator.shuffle(tests)
        order = list(modules.values())
        generator.shuffle(order)
    items[:] = [item for tests in order for item in tests]


def _place_of_module(tests):
    name = tests[0].path.relative_to(HERE).with_suffix("").as_posix()
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


# Hypothesis draws the same examples everywhere and sets no deadline, so that every failure can be
# reproduced.
settings.register_profile("vaetune", derandomize=True, deadline=None)
settings.load_profile("vaetune")


@pytest.fixture(autouse=True, scope="session")
def shared_contexts():
    """Lets searches on the same images share compiled steps and new models, to save time.

    Evaluations and exports of a trial share its restored model.

    This affects the test process only. A command in another process compiles its own steps.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Some tests import neither this module nor TensorFlow.
        local = sys.modules.get("vaetune.search.executors.local")
        if local:
            from shared_contexts import context_of, shared_rescorer_of

            patch.setattr(local, "TrainingContext", context_of)
            patch.setattr(local, "rescorer_of", shared_rescorer_of)
        if "vaetune.training" in sys.modules and "tensorflow" in sys.modules:
            from shared_models import share_models

            share_models(patch)
        yield


@pytest.fixture(autouse=True, scope="session")
def unoptimized_graphs():
    """Turns off TensorFlow's optimization of graphs, which takes a third of the time of the tests.

    This affects the test process only. Commands in other processes, including those that replay
    the record, optimize their graphs as in normal use.
    """
    if "tensorflow" in sys.modules:
        _optimize_graphs(False)


@pytest.fixture(autouse=True, scope="session")
def seeded():
    """Seeds TensorFlow, as `choose_device` does in normal use.

    Many tests do not call `choose_device`. Once a test has made operations deterministic,
    TensorFlow refuses random operations without a seed.
    """
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)


@pytest.fixture
def optimized_graphs():
    """Turns on the optimization of the graphs that a test traces."""
    _optimize_graphs(True)
    yield
    _optimize_graphs(False)


def _optimize_graphs(is_on):
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not is_on})


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A temporary folder that all workers of pytest-xdist share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def exported_winner(shared_folder):
    """The winner of a tiny search, exported by the command line in every format.

    The first pytest worker that needs the export makes it. Tests do not change it.

    Returns:
        The study, the folder of the export and the standard output of the command.
    """
    return _export_winner(shared_folder / "exported")


@pytest.fixture(scope="session")
def exported_ladder(shared_folder):
    """Like `exported_winner`, for models with three levels.

    The export has no figures, and the test process reads it back. tests/export/test_model_card.py
    loads it in a process that cannot import vaetune.
    """
    from exports import LADDER, ReaderInThisProcess

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.export.trial.Reader", ReaderInThisProcess)
        patch.setattr("vaetune.export.bundle.draw_showcase", lambda vae, study, trial: {})
        return _export_winner(shared_folder / "exported-ladder", LADDER)


def _export_winner(results, values=None):
    from exports import search_with_latent_dim, vaetune

    from vaetune.study.builder import load_study

    printed = results / "stdout"
    with FileLock(results.with_suffix(".lock")):
        if not printed.exists():
            search_with_latent_dim(results, 2, **(values or {}))
            export = ("best", "--export", "--format", "all", "--output", results / "model")
            code, out, error = vaetune(*export, "--results", results)
            assert (code, error.count("\n")) == (0, 1)
            assert "The images of the winner of tiny were given by a script" in error
            printed.write_text(out)
    return load_study(results / "tiny"), results / "model", printed.read_text()


@pytest.fixture
def without_charts(monkeypatch):
    """Leaves the charts of reports empty, because they take most of the time of a report."""
    for module in ("page", "sections.section", "sections.side_by_side"):
        monkeypatch.setattr(f"vaetune.report.{module}.to_svg", empty_svg)


def empty_svg(figure, name="", description=""):
    return "<svg/>"


@pytest.fixture
def without_reading_back(monkeypatch):
    """Skips reading exports back, for which a new process would import TensorFlow."""
    from exports import StubReader

    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)


@pytest.fixture(scope="session")
def chromium():
    """A browser. Without one, a test is skipped; in CI it fails.

    Chromium's headless shell draws no window and needs half the CPU time of Chromium.
    """
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        message = "There is neither chromium-headless-shell nor chromium on this machine."
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    flags = (
        "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
        "--disable-sync --no-first-run"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags.split())
        yield browser
        browser.close()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty folder for decoded images and facts about image files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vaetune" / "images"
