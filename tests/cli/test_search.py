"""`vaetune search`: output, records, interruptions and extensions."""

import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from image_sets import make_images
from journals import make_session_end, make_started, make_trial_events, write_search
from long_forms import long
from prepared_commands import PreparedCommand
from scripted_workers import wait_until
from user_folder import BAYESIAN, SEARCH_FILE

from vaetune.cli.search import announce, print_outcome
from vaetune.config.reading import Reading
from vaetune.config.search_file import ResolvedSearch, find_search, resolve
from vaetune.device import ChosenDevice
from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_charts", "without_reading_back")


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_a_flag_overrides_the_file_and_is_shown_as_the_origin(vaetune, folder):
    code, out, _ = vaetune(
        "search", "squares.toml", "--max-epochs", 1, "--seed", 0, "--no-baseline", "--device", "cpu"
    )
    assert code == 0
    assert re.search(r"budget\.max_epochs +1 +flag", out)
    assert re.search(r"seed +0 +flag", out)
    assert re.search(r"baseline +false +flag", out)
    assert re.search(r"device +cpu +flag", out)
    assert load_study(folder / "results" / "squares").started.search.seed == 0
    assert not (folder / "results" / "baselines").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_quiet_prints_only_the_outcome(vaetune, folder):
    _, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "--quiet")
    assert out.startswith("Winner of squares (complete, 1 trial)")


def test_a_search_ends_with_hints_and_its_report(tmp_path, capsys):
    trial = make_trial_events("0000", [160.0, 140.0, 130.0])
    write_search(tmp_path, "tiny", *trial, make_session_end())
    print_outcome(load_study(tmp_path / "tiny"), tmp_path)
    out = capsys.readouterr().out
    assert re.search(
        r"^Hint: The winner's loss was still falling when training ended, by 10\.00 nats in the "
        rf"last of 3 epochs\. Try max_epochs = 6\.\nReport: {tmp_path}/report\.html\nNext: ",
        out,
        re.MULTILINE,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_a_complete_search_trains_only_missing_final_seeds(vaetune, folder):
    vaetune("search", "squares.toml", "--max-epochs", 1)
    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1)
    assert code == 0
    assert "The search is complete: nothing is left to train." in out
    assert not re.search(r"^trial 0000 ", out, re.MULTILINE)

    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--final-seeds", 2)
    assert code == 0
    assert "Then: 1 finalist trained from 2 other seeds each, at most 2 epochs." in out
    assert "All trials are complete: the finalists are compared again." in out
    assert len(re.findall(r"^configuration 0 seed \d+ +[\d.]+ nats", out, re.MULTILINE)) == 2
    assert re.search(r"^  other seeds +[\d.]+ \+- [\d.]+ nats, the mean of ", out, re.MULTILINE)
    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--final-seeds", 2)
    assert "The search is complete: nothing is left to train." in out
    assert re.search(r"Keras example +[\d.]+ at its best epoch, 1 of 1", out)


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_a_search_reports_why_every_trial_failed(vaetune, folder):
    text = SEARCH_FILE.replace("{ min = 1e-3, max = 1e-1, scale", "{ min = 1e30, max = 1e35, scale")
    (folder / "wild.toml").write_text(text)
    code, out, error = vaetune("search", "wild.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 1
    assert "failed: The" in out
    assert "Report: results/report.html" in out
    assert re.fullmatch(r"vaetune: Every trial failed, the first with: The [^\n]+\n", error)
    code, out, error = vaetune("best")
    assert code == 1
    assert 'No trial of "wild" completed. See `vaetune trials wild --failed`.' in error


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
@pytest.mark.parametrize(
    ("algorithm", "budget", "trials"),
    [("random", "max_trials = 3", 3), ("grid", "max_trials = 3", 3), ("bayesian", BAYESIAN, 4)],
)
def test_every_algorithm_runs_from_the_command_line(vaetune, folder, algorithm, budget, trials):
    text = SEARCH_FILE.replace("max_epochs = 3", f"max_epochs = 1\n{budget}")
    (folder / "mine.toml").write_text(text.replace('"hyperband"', f'"{algorithm}"'))
    code, out, error = vaetune("search", "mine.toml", "--no-baseline")
    assert (code, error) == (0, "")
    assert re.search(rf"algorithm +{algorithm} +file", out)
    assert f"To train: {trials} trials of {trials} configurations, {trials} epochs." in out
    assert len(load_study(folder / "results" / "mine").trials) == trials


@pytest.mark.slow
@pytest.mark.usefixtures("without_page", "without_figures")
def test_a_search_is_extended_and_its_trials_are_selected(vaetune, folder, monkeypatch):
    # Five finalists would keep the weights of all five trials.
    for module in ("study.study", "study.ranking"):
        monkeypatch.setattr(f"vaetune.{module}.FINALISTS", 1)
    text = SEARCH_FILE.replace("max_epochs = 3", "max_epochs = 1\nmax_trials = 3")
    (folder / "mine.toml").write_text(text.replace('"hyperband"', '"random"'))
    vaetune("search", "mine.toml", "--no-baseline", "--keep-best", 1)
    code, _, error = vaetune("search", "mine.toml", "--no-baseline", "--max-trials", 5)
    assert code == 1
    assert (
        "budget.max_trials: 3 -> 5. Use --extend (in Python: extend=True) to continue with the "
        "larger budget." in error
    )
    code, out, _ = vaetune(
        *("search", "mine.toml", "--no-baseline", "--max-trials", 5, "--extend", "--keep-best", 1)
    )
    assert code == 0
    assert "The whole search: 5 trials" in out
    assert "Continuing: not complete, 3 of 5 trials" in out
    study = load_study(folder / "results" / "mine")
    for size in {trial.hyperparameters["latent_dim"] for trial in study.trials}:
        code, out, _ = vaetune("best", "--latent-dim", size, "--export")
        assert code == 0
        assert f"latent {size}" in out
        manifest = json.loads((folder / "results" / "best" / "hyperparameters.json").read_text())
        assert manifest["hyperparameters"]["latent_dim"] == size
    last = study.ranking[-1]
    code, out, error = vaetune("best", "--trial", last.trial_id, "--export")
    assert out.startswith(f"Trial {last.trial_id} of mine")
    assert code == 1
    assert f"The weights of trial {last.trial_id} were not kept" in error
    code, _, error = vaetune("best", "--latent-dim", 99)
    assert code == 1
    assert "no completed trial of latent_dim 99. There are: " in error


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
def test_a_time_budget_ends_a_search_with_a_report_and_an_export(vaetune, folder, monkeypatch):
    from vaetune.export.formats import FORMATS
    from vaetune.search import tuner

    def write_empty_files(folder, vae):
        for name in FORMATS["litert"].files:
            (folder / name).touch()

    monkeypatch.setitem(FORMATS, "litert", replace(FORMATS["litert"], write=write_empty_files))

    clock = time.monotonic
    saved = []
    save = tuner.CheckpointKeeper.save
    monkeypatch.setattr(
        tuner.CheckpointKeeper, "save", lambda *given: (saved.append(1), save(*given))[1]
    )
    late_clock = lambda: clock() + (1e5 if len(saved) >= 5 else 0)  # noqa: E731
    monkeypatch.setattr(tuner.time, "monotonic", late_clock)
    earlier = {"program": "vaetune", "files": ["hyperparameters.json"], "formats": {"litert": {}}}
    (folder / "results" / "best").mkdir(parents=True)
    (folder / "results" / "best" / "hyperparameters.json").write_text(json.dumps(earlier))
    code, out, error = vaetune(
        "search", "squares.toml", "--no-baseline", "--time-budget", "5h", "--max-epochs", 3
    )
    assert (code, error) == (0, "")
    assert "The time budget of 5h is used up. Run the same command again to continue." in out
    assert "Exported to results/best/" in out
    assert "encoder.tflite" in out, "the export has the formats of the earlier export"
    assert "Stopped by its time budget" in (folder / "results" / "report.html").read_text()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    code, out, _ = vaetune("search", "squares.toml", "--no-baseline")
    assert code == 0
    assert "complete, 6 trials" in out


@pytest.mark.slow
@pytest.mark.parametrize("trials", [20, *long(110)])
def test_memory_does_not_grow_with_the_trials(tmp_path, trials):
    """Compares the resident memory with that after 10 trials, in a separate process."""
    script = Path(__file__).parents[1] / "stress" / "memory_of_trials.py"
    with PreparedCommand([trials], tmp_path, program=script) as process:
        code, out, error = process.finish()
    assert (code, error) == (0, "")
    after = {int(n): float(mib) for n, mib in (line.split() for line in out.splitlines())}
    assert after[trials] - after[10] < 6 * (trials - 10)


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_results_of_binarised_images_mention_the_binarisation(vaetune, folder):
    text = SEARCH_FILE.replace('"squares.npz"', '"squares.npz"\nbinarize = "stochastic"')
    (folder / "drawn.toml").write_text(text)
    code, out, _ = vaetune("search", "drawn.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 0
    assert re.search(r"data\.binarize +stochastic +file", out)
    assert "0.00 above" not in out
    winner = out[out.index("Winner of drawn") :]
    assert "one posterior sample of each, pixels binarised at random, once" in winner
    _, out, _ = vaetune("evaluate", "drawn", "--importance-samples", 2)
    assert "  pixels binarised at random, once: 1 with their value as the prob" in out
    assert "above the entropy floor, 0.00" in out

    _, out, _ = vaetune("evaluate", "drawn", "--importance-samples", 2, "--format", "json")
    assert json.loads(out)[0]["protocol"]["binarize"] == "stochastic"
    (folder / "drawn.toml").write_text(text.replace("stochastic", "threshold"))
    code, _, error = vaetune("search", "drawn.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 1
    assert "data.binarize: stochastic -> threshold" in error


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, *long(signal.SIGTERM)])
def test_a_signal_ends_a_search_cleanly_and_keeps_its_trials(folder, number):
    command = ("search", "squares.toml", "--max-epochs", "27", "--no-baseline")
    with PreparedCommand(command, cwd=folder) as process:
        for line in process.stdout:
            if line.startswith("trial 0001"):
                break
        process.send_signal(number)
        out, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error == ""
    assert (
        "Stopped. Everything found so far is kept. Run the same command again to continue." in out
    )
    stopped = load_study(folder / "results" / "squares")
    assert stopped.last_end.reason == "interrupted"
    assert len(stopped.trials) >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_a_killed_search_keeps_its_completed_trials(vaetune, folder):
    command = ("search", "squares.toml", "--no-baseline")
    journal = folder / "results" / "squares" / "journal.jsonl"
    with PreparedCommand(command, cwd=folder) as process:
        wait_until(lambda: kill_after_two_trials(process, journal), "two trials")
    killed = load_study(journal.parent)
    code, _, error = vaetune(*command)
    assert code == 0, error
    study = load_study(journal.parent)
    completed = [trial for trial in killed.trials if trial.status == "completed"]
    assert len(completed) >= 2
    assert list(study.trials[: len(completed)]) == completed
    assert len(study.trials) == 6


def kill_after_two_trials(process, journal):
    """Kills the search once two trials have ended; returns whether its process has ended."""
    if journal.exists() and journal.read_text().count("trial_ended") >= 2:
        process.kill()
    return process.poll() is not None


def test_search_without_a_name_lists_the_searches(vaetune, folder):
    (folder / "searches").mkdir()
    (folder / "searches" / "mine.toml").write_text('description = "my own"')
    (folder / "searches" / "broken.toml").write_text("x =")
    code, out, _ = vaetune("search")
    assert code == 0
    assert re.search(r"^  hyperband +Hyperband over", out, re.MULTILINE)
    assert re.search(r"^  mine +my own$", out, re.MULTILINE)
    assert re.search(r"^  broken +cannot be read: .*not valid TOML", out, re.MULTILINE)


@pytest.mark.slow
def test_the_output_and_the_report_name_the_images(vaetune, folder):
    """The description comes from the search file, but --dataset may select other images."""
    (folder / "mine.toml").write_text(SEARCH_FILE.replace('"squares"', '"VAEs of circles"'))
    quick = ("--max-epochs", 1, "--no-baseline", "--dataset", "squares.npz")
    code, out, _ = vaetune("search", "mine.toml", *quick)
    assert code == 0
    line = (
        "Images: squares, 42 images of 9 x 10 x 1, uint8 0..255 taken as 0..1; Bernoulli likelihood"
    )
    assert f"\nVAEs of circles\n{line}\n" in out
    page = (folder / "results" / "report.html").read_text()
    assert f'<p class="description">{line}</p>' in page


@pytest.mark.parametrize("name", ["hyperband", "random", "bayesian", "grid", "mnist"])
def test_no_built_in_description_names_images(name):
    description = resolve(find_search(name)).spec.description
    assert not re.search(r"digits|mnist|\d,\d\d\d", description, re.IGNORECASE)


@pytest.mark.usefixtures("without_page")
def test_a_quiet_search_warns_about_a_missing_journal(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline", "--quiet")
    vaetune("search", "squares.toml", *quick)
    (folder / "results" / "squares" / "journal.jsonl").unlink()
    code, _, error = vaetune("search", "squares.toml", *quick)
    assert code == 0
    assert error.startswith("journal.jsonl was missing.")


def test_ctrl_c_while_images_are_loaded_is_reported(vaetune, folder, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaetune.data.sources.load_images", stop)
    code, out, error = vaetune("search", "squares.toml")
    assert (code, error) == (130, "")
    assert out == "Stopped. Everything found so far is kept.\n"
    assert not (folder / "results").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_a_lost_winner_is_not_exported_when_the_time_budget_ends(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline")
    vaetune("search", "squares.toml", *quick)
    study = load_study(folder / "results" / "squares")
    (study.trial_folder(study.winner.trial_id) / "checkpoint.npz").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.config.spec.Limits.time_budget_s", -1.0)
        code, out, error = vaetune("search", "squares.toml", *quick, "--time-budget", "1s")
    assert (code, error) == (0, "")
    assert "All trials are complete: lost or damaged files are made again." in out
    assert "The winner so far is not exported. There is no checkpoint" in out


@pytest.mark.parametrize("quiet", [False, True])
def test_warnings_about_images_are_printed_once_unless_quiet(capsys, quiet):
    reading = Reading(kind="files", dtype="uint8", low=0, high=255, range=(0, 255))
    started = make_started(reading=reading.model_copy(update={"warnings": ("37 copies.",)}))
    session = SimpleNamespace(
        started=started,
        spec=started.search,
        plan=started.plan,
        past=None,
        is_done=False,
        folder="results/x",
        images=make_images(),
        device=ChosenDevice("CPU", 1),
    )
    announce(session, ResolvedSearch("x", started.search, {}), "CPU, 1 thread", quiet)
    out = capsys.readouterr().out
    assert out.count("Warning: 37 copies.\n") == (not quiet)
    if not quiet:
        assert out.index("data.dataset") < out.index("Warning:") < out.index("To train:")
