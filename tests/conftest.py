"""Settings that TensorFlow and NumPy read once, when they are imported: before test modules are."""

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
# Several threads wait for one another: simulations and Gaussian processes took 40 % longer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# XLA compiles for as long as a test runs. Tests ask what a program computes, not how fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# Objects of imports stay. Going through them again and again takes a tenth of the time of tests.
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
"""Modules that take longest. If one of them started last, the other workers would have to wait.

Modules that wait for processes of Ray are not next to each other, so that another worker computes
at the same time.
"""


def pytest_collection_modifyitems(config, items):
    """Puts the longest modules first, or shuffles modules and their tests; alike in all workers."""
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


# The same examples each time, on machines of any speed: a failure is one that everybody sees.
settings.register_profile("vaetune", derandomize=True, deadline=None)
settings.load_profile("vaetune")


@pytest.fixture(autouse=True, scope="session")
def shared_contexts():
    """Lets searches of the same images share compiled steps and new models, which take long.

    Evaluations and exports of a trial share its restored model.

    This holds for the process of the tests only. A command in another process compiles its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Some tests need neither it nor TensorFlow.
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
    """Leaves out TensorFlow's optimization of graphs, which takes a third of the time of tests.

    This holds for the process of the tests only. Commands in other processes, among them those
    that repeat the record, optimize their graphs as users do.
    """
    if "tensorflow" in sys.modules:
        _optimize_graphs(False)


@pytest.fixture(autouse=True, scope="session")
def seeded():
    """Seeds TensorFlow, which refuses random operations without a seed.

    It does so from the first test on that makes operations deterministic. A user's process is
    seeded by `choose_device`, which many tests do without.
    """
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)


@pytest.fixture
def optimized_graphs():
    """Optimizes the graphs that a test traces."""
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
def handed_over(shared_folder):
    """The winner of a tiny search in every format, by the command line: study, folder, stdout.

    The first worker that needs it makes it. Tests do not change it.
    """
    return _hand_over(shared_folder / "handed-over")


@pytest.fixture(scope="session")
def handed_over_ladder(shared_folder):
    """The winner of a tiny search of models with three levels, like `handed_over`.

    It has no pictures. This process reads it back; tests/export/test_model_card.py loads it where
    vaetune cannot be imported.
    """
    from exports import LADDER, ReaderInThisProcess

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.export.trial.Reader", ReaderInThisProcess)
        patch.setattr("vaetune.export.bundle.draw_showcase", lambda vae, study, trial: {})
        return _hand_over(shared_folder / "handed-over-ladder", LADDER)


def _hand_over(results, values=None):
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
    """Leaves the charts of reports empty: drawing them takes most of the time of a report."""
    for module in ("page", "sections.section", "sections.side_by_side"):
        monkeypatch.setattr(f"vaetune.report.{module}.to_svg", empty_svg)


def empty_svg(figure, name="", description=""):
    return "<svg/>"


@pytest.fixture
def without_reading_back(monkeypatch):
    """Exports without the process that reads the files back and imports TensorFlow for it."""
    from exports import StubReader

    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)


@pytest.fixture(scope="session")
def chromium():
    """A browser, which CI must have.

    Chromium's headless shell has no window to draw and needs half the CPU time.
    """
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        message = "There is neither chromium-headless-shell nor chromium on this machine."
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    quiet = (
        "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
        "--disable-sync --no-first-run"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet.split())
        yield browser
        browser.close()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty folder for decoded images and facts about image files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vaetune" / "images"
