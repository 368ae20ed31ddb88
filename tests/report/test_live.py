"""A watch rewrites the page while searches run, at limited cost, until they end."""

import base64
import hashlib
import html
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack

import numpy as np
import pytest
from image_sets import make_split
from journals import (
    make_epoch,
    make_session,
    make_session_end,
    make_started,
    make_trial_events,
    write_baseline,
    write_search,
)
from prepared_commands import PreparedCommand
from torture import SEARCH_FILE

from vaetune.cli import app
from vaetune.errors import ResultsError
from vaetune.files import is_in_use, lock_results
from vaetune.report.live import Clock, Ended, Waiting, WriteFailed, Written, watch
from vaetune.report.output import is_live_page, write_report
from vaetune.study.journal import JOURNAL_NAME, Journal

pytestmark = pytest.mark.usefixtures("without_charts")


class RunningSearch:
    """A search that locks its folder and its journal, as its process would."""

    def __init__(self, results, name="tiny", **started):
        self._held = ExitStack()
        self.folder = results / name
        self._held.enter_context(lock_results(self.folder))
        self._journal = self._held.enter_context(Journal(self.folder / JOURNAL_NAME))
        if self._journal.path.stat().st_size == 0:
            self._journal.append(make_started(name, **started))

    def __enter__(self):
        return self.append(make_session())

    def __exit__(self, *error):
        self.kill()

    def append(self, *events):
        for event in events:
            self._journal.append(event)
        return self

    def end(self, reason="completed"):
        self.append(make_session_end(reason))
        self.kill()

    def kill(self):
        self._held.close()


class SimulatedWatch:
    """A watch with a simulated clock. Sleeping advances it, and runs the actions that are due.

    Attributes:
        pages: When pages were written, in seconds, and whether they were live.
    """

    def __init__(self, results, page_s=2.0, write=None):
        self.results = results
        self.write_page = write or write_small_page
        self.page_s = page_s
        self.now_s = 1000.0
        self.pages = []
        self.actions = []
        self.is_broken = False

    def at(self, second, action, *given):
        self.actions.append((second, action, given))
        return self

    def sleep(self, seconds):
        self.now_s += seconds
        assert self.now_s < 10_000, "the watch does not end"
        due = [entry for entry in self.actions if entry[0] <= self.now_s - 1000]
        for entry in due:
            self.actions.remove(entry)
            _, action, given = entry
            action(*given)

    def write(self, results, live):
        self.pages.append((self.now_s - 1000, live))
        self.now_s += self.page_s
        if self.is_broken:
            raise ResultsError("The disk is full.")
        return self.write_page(results, live)

    def watch(self):
        return watch(self.results, Clock(lambda: self.now_s, self.sleep), self.write)

    def until(self, second):
        """Returns the messages of the watch until this second, when Ctrl-C is pressed."""
        shown = []
        self.at(second, interrupt)
        with pytest.raises(KeyboardInterrupt):
            deque(map(shown.append, self.watch()))
        return shown


def write_small_page(results, live):
    """A fast replacement for `write_report`."""
    page = results / "report.html"
    refresh = '<noscript><meta http-equiv="refresh" content="30"></noscript>'
    page.write_text('<meta name="generator" content="vaetune 0">' + refresh * live)
    return page


def interrupt():
    raise KeyboardInterrupt


def kinds_of(watch_events):
    return [type(event).__name__ for event in watch_events]


# Start and end of watching


def test_watching_ends_with_the_search_and_a_page_that_is_not_live(tmp_path):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0]))
        simulated = SimulatedWatch(tmp_path, write=write_report).at(5, search.end)
        shown = list(simulated.watch())
    assert kinds_of(shown) == ["Written", "Ended", "Written"]
    assert shown[0].is_live
    assert [study.name for study in shown[0].running] == ["tiny"]
    assert shown[1].name == "tiny"
    assert shown[1].study.is_complete
    assert shown[2] == Written(tmp_path / "report.html", (), is_live=False)
    assert [live for _, live in simulated.pages] == [True, False]
    assert not is_live_page(tmp_path / "report.html")


def test_watching_continues_until_the_last_search_ends(tmp_path):
    with RunningSearch(tmp_path, "one") as one, RunningSearch(tmp_path, "two") as two:
        simulated = SimulatedWatch(tmp_path).at(5, one.end).at(50, two.end, "interrupted")
        shown = [event for event in simulated.watch() if isinstance(event, Ended)]
    assert [ended.name for ended in shown] == ["one", "two"]
    assert simulated.now_s - 1000 > 50


def test_a_search_that_starts_later_is_also_watched(tmp_path):
    started_later = []
    with RunningSearch(tmp_path, "one") as one, ExitStack() as stack:
        start = lambda: started_later.append(stack.enter_context(RunningSearch(tmp_path, "two")))  # noqa: E731
        simulated = (
            SimulatedWatch(tmp_path)
            .at(5, start)
            .at(8, one.end)
            .at(70, lambda: started_later[0].end())
        )
        shown = list(simulated.watch())
    assert [event.name for event in shown if isinstance(event, Ended)] == ["one", "two"]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_watching_waits_for_a_search_to_start(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    results = tmp_path / folder
    started_later = []
    with ExitStack() as stack:
        start = lambda: started_later.append(stack.enter_context(RunningSearch(results)))  # noqa: E731
        simulated = SimulatedWatch(results).at(600, start).at(640, lambda: started_later[0].end())
        shown = list(simulated.watch())
    assert kinds_of(shown) == ["Waiting", "Written", "Ended", "Written"]
    assert 600 <= simulated.pages[0][0] <= 601


def test_a_search_that_starts_and_ends_between_two_checks_is_noticed(tmp_path):
    def begin_and_end():
        with RunningSearch(tmp_path) as search:
            search.end()

    shown = list(SimulatedWatch(tmp_path).at(100, begin_and_end).watch())
    assert kinds_of(shown) == ["Waiting", "Written", "Ended", "Written"]


def test_a_waiting_watch_writes_a_live_page_of_recorded_searches(tmp_path):
    write_search(tmp_path, "tiny", *make_trial_events("0000", [200.0]), make_session_end())
    simulated = SimulatedWatch(tmp_path)
    assert simulated.until(600) == [Waiting(), Written(tmp_path / "report.html", (), is_live=True)]
    assert is_live_page(tmp_path / "report.html")


def test_a_search_that_was_killed_earlier_is_not_running(tmp_path):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0], status=None))
    assert kinds_of(SimulatedWatch(tmp_path).until(100)) == ["Waiting", "Written"]


def test_a_killed_search_is_reported_as_ended(tmp_path):
    with RunningSearch(tmp_path) as search:
        shown = list(SimulatedWatch(tmp_path).at(30, search.kill).watch())
    assert kinds_of(shown) == ["Written", "Ended", "Written"]
    assert shown[1].study.last_end is None


def test_a_killed_search_that_is_resumed_is_running_again(tmp_path):
    with RunningSearch(tmp_path):
        pass
    resumed = []
    with ExitStack() as stack:
        resume = lambda: resumed.append(stack.enter_context(RunningSearch(tmp_path)))  # noqa: E731
        simulated = SimulatedWatch(tmp_path).at(60, resume).at(90, lambda: resumed[0].end())
        shown = list(simulated.watch())
    assert kinds_of(shown) == ["Waiting", "Written", "Written", "Ended", "Written"]


def test_a_locked_folder_without_an_open_session_is_not_a_running_search(tmp_path):
    """A search with a changed search file, for example, locks its folder and is refused."""
    write_search(tmp_path, "tiny", *make_trial_events("0000", [200.0]), make_session_end())
    held = lock_results(tmp_path / "tiny")
    simulated = (
        SimulatedWatch(tmp_path).at(10, held.__enter__).at(20, held.__exit__, None, None, None)
    )
    assert kinds_of(simulated.until(100)) == ["Waiting", "Written"]


def test_the_lock_of_an_idle_folder_is_checked_once(tmp_path, monkeypatch):
    """A check takes the lock for an instant, and a search that starts then would be refused."""
    with RunningSearch(tmp_path):
        pass
    checked = []
    count = lambda folder: checked.append(folder) or is_in_use(folder)  # noqa: E731
    monkeypatch.setattr("vaetune.report.live.is_in_use", count)
    SimulatedWatch(tmp_path).until(100)
    assert len(checked) == 1


# When the page is rewritten


def page_times(simulated):
    return [second for second, _ in simulated.pages]


@pytest.mark.parametrize(
    "events",
    [
        make_trial_events("0001", [], status=None),
        make_trial_events("0000", [200.0])[-1:],
        [make_session_end("time_budget"), make_session()],
    ],
    ids=["a trial starts", "a trial ends", "a session ends"],
)
def test_the_page_is_rewritten_after_an_event_of_a_trial_or_session(tmp_path, events):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0], status=None))
        simulated = SimulatedWatch(tmp_path).at(100, search.append, *events)
        simulated.until(300)
    assert len(simulated.pages) == 2
    assert 100 <= simulated.pages[1][0] <= 101


def test_the_page_is_rewritten_when_a_search_or_baseline_appears(tmp_path):
    with RunningSearch(tmp_path):
        simulated = SimulatedWatch(tmp_path).at(100, write_baseline, tmp_path)
        simulated.at(200, write_search, tmp_path, "other").until(300)
    assert [round(second) for second in page_times(simulated)] == [0, 100, 200]


def test_the_page_is_rewritten_when_a_search_disappears(tmp_path):
    other = write_search(tmp_path, "other")
    with RunningSearch(tmp_path):
        simulated = SimulatedWatch(tmp_path).at(100, other.unlink)
        simulated.until(300)
    assert [round(second) for second in page_times(simulated)] == [0, 100]


def test_an_unchanged_search_is_read_once_and_the_page_is_written_once(tmp_path, monkeypatch):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0]))
        lines = []
        monkeypatch.setattr("vaetune.report.live._kind_of", lambda x: lines.append(x) or "known")
        simulated = SimulatedWatch(tmp_path)
        simulated.until(5000)
    assert len(simulated.pages) == 1
    assert len(lines) == 5


@pytest.mark.parametrize("page_s", [0.4, 2.0, 7.0])
def test_writing_pages_takes_no_more_than_a_tenth_of_the_time(tmp_path, page_s):
    with RunningSearch(tmp_path) as search:
        simulated = SimulatedWatch(tmp_path, page_s)
        for second in range(1, 300):
            simulated.at(second, search.append, make_session())
        simulated.until(300)
    gaps = [later - before for before, later in itertools.pairwise(page_times(simulated))]
    assert min(gaps) >= 10 * page_s
    assert max(gaps) <= 10 * page_s + 1.01
    assert len(gaps) * page_s <= 30


def test_an_event_soon_after_a_page_rewrites_the_page_after_the_pause(tmp_path):
    with RunningSearch(tmp_path) as search:
        simulated = SimulatedWatch(tmp_path).at(
            3, search.append, *make_trial_events("0000", [200.0])
        )
        simulated.until(300)
    assert [round(second) for second in page_times(simulated)] == [0, 20]


def test_epochs_rewrite_the_page_about_once_a_minute(tmp_path):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0], status=None))
        simulated = SimulatedWatch(tmp_path)
        for second in range(1, 300):
            simulated.at(second, search.append, make_epoch("0000", 1 + second, 200.0 - second))
        simulated.until(300)
    gaps = [later - before for before, later in itertools.pairwise(page_times(simulated))]
    assert len(gaps) >= 4
    assert all(60 <= gap <= 66 for gap in gaps)


def test_a_page_that_a_search_overwrites_becomes_live_again(tmp_path):
    with RunningSearch(tmp_path), RunningSearch(tmp_path, "other"):
        simulated = SimulatedWatch(tmp_path).at(100, write_report, tmp_path)
        simulated.until(200)
    assert [round(second) for second in page_times(simulated)] == [0, 100]
    assert is_live_page(tmp_path / "report.html")


def test_a_live_page_of_another_watch_does_not_cause_a_rewrite(tmp_path):
    with RunningSearch(tmp_path):
        simulated = SimulatedWatch(tmp_path).at(100, write_small_page, tmp_path, True)
        simulated.until(200)
    assert len(simulated.pages) == 1


# Damaged journals and failed writes


@pytest.mark.parametrize(
    "content",
    [b"no journal\n", b"\xff\xfe\n", b'["event"]\n', b'{"event": 1}\n', b"{", b"[" * 9999 + b"\n"],
    ids=["text", "bytes", "list", "number", "half", "deep"],
)
def test_a_damaged_or_half_written_journal_does_not_end_the_watch(tmp_path, content):
    with RunningSearch(tmp_path) as search, (search.folder / JOURNAL_NAME).open("ab") as journal:
        simulated = SimulatedWatch(tmp_path, write=write_report)
        simulated.at(50, lambda: (journal.write(content), journal.flush())).at(150, search.end)
        (tmp_path / "wrong").mkdir()
        (tmp_path / "wrong" / JOURNAL_NAME).write_bytes(content)
        with RunningSearch(tmp_path, "sound") as sound:
            shown = list(simulated.at(250, sound.end).watch())
    assert [event.name for event in shown if isinstance(event, Ended)] == [
        "tiny",
        "sound",
    ]
    assert not is_live_page(tmp_path / "report.html")


def test_a_half_written_line_is_read_when_it_is_complete(tmp_path):
    with RunningSearch(tmp_path) as search, (search.folder / JOURNAL_NAME).open("ab") as journal:
        line = make_trial_events("0000", [200.0])[0].model_dump_json().encode() + b"\n"
        write = lambda part: (journal.write(part), journal.flush())  # noqa: E731
        simulated = SimulatedWatch(tmp_path).at(100, write, line[:50]).at(200, write, line[50:])
        simulated.until(300)
    assert [round(second) for second in page_times(simulated)] == [0, 200]


def test_a_journal_restored_from_a_copy_is_read_again(tmp_path):
    path = write_search(tmp_path, "other", *make_trial_events("0000", [200.0]))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"epoch_ended", b"epoch_endet"))

    def restore():
        path.write_bytes(whole)
        os.utime(path, ns=(1, 1))

    with RunningSearch(tmp_path):
        simulated = SimulatedWatch(tmp_path).at(100, restore)
        simulated.until(200)
    assert [round(second) for second in page_times(simulated)] == [0, 100]


def test_a_failed_write_is_reported_once_and_retried(tmp_path):
    with RunningSearch(tmp_path) as search:
        simulated = SimulatedWatch(tmp_path)
        simulated.at(100, setattr, simulated, "is_broken", True)
        simulated.at(101, search.append, *make_trial_events("0000", [200.0]))
        simulated.at(250, setattr, simulated, "is_broken", False).at(300, search.end)
        shown = list(simulated.watch())
    assert kinds_of(shown) == ["Written", "WriteFailed", "Written", "Ended", "Written"]
    assert shown[1] == WriteFailed("The disk is full.")
    tries = [second for second in page_times(simulated) if 100 < second < 250]
    assert all(30 <= later - before <= 40 for before, later in itertools.pairwise(tries))
    assert len(tries) >= 4


def test_a_page_of_another_program_ends_the_watch_at_once(tmp_path):
    (tmp_path / "report.html").write_text("<h1>The annual report</h1>")
    with pytest.raises(ResultsError, match="not written by vaetune"):
        next(SimulatedWatch(tmp_path).watch())


def test_a_file_in_place_of_the_results_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultsError, match=r"is a file\. Expected a folder of results"):
        list(SimulatedWatch(tmp_path / "taken").watch())


# Locked folders


def test_a_folder_is_in_use_while_a_process_locks_it(tmp_path):
    assert not is_in_use(tmp_path)
    assert list(tmp_path.iterdir()) == []
    code = "import sys, time; from pathlib import Path\nfrom vaetune.files import lock_results\n"
    code += "with lock_results(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert is_in_use(tmp_path)
        process.kill()
        process.wait()
    assert not is_in_use(tmp_path)


# The command


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `vaetune report --watch`; `sleep` is called between checks."""

    def run(sleep):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("vaetune.report.live.Clock", lambda: Clock(sleep=sleep))
        monkeypatch.setattr(sys, "argv", ["vaetune", "report", "--watch"])
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as done:
            app.main()
        signal.signal(signal.SIGTERM, handler)
        return done.value.code or 0, *capsys.readouterr()

    return run


FIRST_LINE = (
    "Watching results/: results/report.html is updated as trials end. Press Ctrl-C to stop.\n"
)


def test_the_command_prints_the_page_and_the_end_of_the_search(tmp_path, command):
    with RunningSearch(tmp_path / "results") as search:
        search.append(*make_trial_events("0000", [200.0]))
        code, out, error = command(lambda _: search.end())
    assert (code, error) == (0, "")
    assert out == FIRST_LINE + (
        "tiny: not complete, 1 of 4 trials\n"
        "tiny has ended: complete, 1 trial\n"
        "Report: results/report.html, no longer live\n"
    )
    assert not is_live_page(tmp_path / "results" / "report.html")


def test_the_command_reports_a_killed_search(tmp_path, command):
    with RunningSearch(tmp_path / "results") as search:
        assert "tiny was killed: not complete" in command(lambda _: search.kill())[1]


def test_ctrl_c_in_an_empty_folder_leaves_it_empty(tmp_path, command):
    code, out, error = command(lambda _: interrupt())
    assert (code, error) == (0, "")
    waits = "No search is running. Waiting for one to start.\n"
    assert out == FIRST_LINE + waits + "Stopped watching.\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_page_that_is_not_live(tmp_path, command):
    with RunningSearch(tmp_path / "results"):
        code, out, error = command(lambda _: interrupt())
    assert (code, error) == (0, "")
    assert out.endswith("Stopped watching.\nReport: results/report.html, no longer live\n")
    assert not is_live_page(tmp_path / "results" / "report.html")


def test_the_help_describes_watching(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vaetune", "report", "--help"])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        app.main()
    signal.signal(signal.SIGTERM, handler)
    out = " ".join(capsys.readouterr().out.split())
    assert "--watch" in out
    assert "If no search is running, vaetune waits for the next one. Press Ctrl-C" in out


SEARCH = ("search", "./squares.toml", "--quiet")


@pytest.mark.slow
def test_a_search_in_another_process_is_watched_to_its_end(tmp_path):
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    np.savez(tmp_path / "squares.npz", x_train=train.images, x_test=test.images)
    (tmp_path / "squares.toml").write_text(SEARCH_FILE)
    with PreparedCommand(("report", "--watch"), cwd=tmp_path) as watching:
        assert watching.stdout.readline() == FIRST_LINE
        with PreparedCommand(SEARCH, cwd=tmp_path) as searching:
            shown = searching.communicate(timeout=180)
            assert searching.returncode == 0, shown
        watching.wait(120)
        # Not communicate(): it would miss what readline() has read ahead.
        out, error = watching.stdout.read(), watching.stderr.read()
    assert (watching.returncode, error) == (0, "")
    assert out.startswith("No search is running. Waiting for one to start.\n")
    assert "squares has ended: complete, 6 trials\n" in out
    assert out.endswith("Report: results/report.html, no longer live\n")
    page = (tmp_path / "results" / "report.html").read_text()
    assert "Complete: 6 trials" in page
    assert "reloads every" not in page


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch_with_a_page_that_is_not_live(tmp_path, number):
    write_search(tmp_path / "results", "tiny", *make_trial_events("0000", [200.0]))
    page = tmp_path / "results" / "report.html"
    with PreparedCommand(("report", "--watch"), cwd=tmp_path) as watching:
        while not page.exists():
            assert watching.poll() is None
            time.sleep(0.05)
        assert is_live_page(page)
        watching.send_signal(number)
        out, error = watching.communicate(timeout=60)
    assert (watching.returncode, error) == (0, "")
    assert out.endswith("no longer live\n")
    assert not is_live_page(page)


# The live page


def test_only_a_live_page_has_a_notice_and_reloads(tmp_path):
    write_search(tmp_path, "tiny", *make_trial_events("0000", [200.0]))
    live = write_report(tmp_path, live=True).read_text()
    assert re.search(r"<b>Live:</b> <span>written at <time [^>]*>\d\d:\d\d:\d\d UTC</time>", live)
    head = live[: live.index("</head>")]
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in head
    assert "location.reload()" in live
    assert not re.search(r"aria-live|role=.?(status|alert)", live[live.index('id="live"') :][:400])
    still = write_report(tmp_path).read_text()
    for part in ("Live:", 'http-equiv="refresh"', "location.reload()", 'id="live"'):
        assert part not in still


@pytest.mark.parametrize("live", [True, False])
def test_the_security_policy_allows_the_script_of_the_page_by_its_hash(tmp_path, live):
    write_search(tmp_path, "tiny", *make_trial_events("0000", [200.0]))
    page = write_report(tmp_path, live=live).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert f"script-src 'sha256-{digest}';" in policy


def test_a_live_page_distinguishes_running_from_killed_searches(tmp_path):
    with RunningSearch(tmp_path) as search:
        search.append(*make_trial_events("0000", [200.0]))
        page = write_report(tmp_path, live=True).read_text()
    assert "Running: 1 of 4 trials" in page
    assert "or it was killed" not in page
    assert "or it was killed" in write_report(tmp_path, live=True).read_text()


@pytest.fixture(scope="module")
def live_page(tmp_path_factory):
    results = tmp_path_factory.mktemp("live")
    for number in range(3):
        write_search(
            results, f"tiny-{number}", *make_trial_events("0000", [200.0, 190.0]), minutes=number
        )
    return write_report(results, live=True)


FIRST_VISIBLE_HEADING = """() => {
    const headings = [...document.querySelectorAll("article h3")];
    const first = headings.find((heading) => heading.getBoundingClientRect().top > 0);
    return { text: first.textContent, top: first.getBoundingClientRect().top };
}"""


class Visit:
    """A live page in a browser with a clock that the test sets."""

    def __init__(self, browser, path, after_s=0):
        self.troubles = []
        self.page = browser.new_page(viewport={"width": 800, "height": 600})
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.loads = 0
        self.page.on("domcontentloaded", self.count)
        self.page.clock.install(time=path.stat().st_mtime + after_s)
        self.page.goto(f"{path.as_uri()}#search-2")

    def count(self, page):
        self.loads += 1

    def reloads_in(self, seconds, patience=400):
        """Whether the page reloads after this number of seconds of its own clock."""
        before = self.loads
        self.page.clock.fast_forward(1000 * seconds)
        for _ in range(patience):
            self.page.wait_for_timeout(50)
            if self.loads > before:
                self.page.wait_for_load_state()
                self.page.wait_for_timeout(300)
                return True
        return False

    def does_not_reload_in(self, seconds):
        """Whether the page does not reload in this number of seconds of its own clock."""
        return not self.reloads_in(seconds, patience=20)

    @property
    def notice(self):
        return self.page.locator("#live").inner_text()


@pytest.fixture
def visit(chromium):
    visits = []

    def open_page(path, **options):
        visits.append(Visit(chromium, path, **options))
        return visits[-1]

    yield open_page
    for one in visits:
        one.page.close()
        assert one.troubles == []


@pytest.mark.browser
def test_a_live_page_reloads_and_keeps_its_hash_and_scroll_position(visit, live_page):
    visited = visit(live_page)
    assert "reloads every 10 s" in visited.notice
    visited.page.evaluate("window.scrollTo({ top: 700, behavior: 'instant' })")
    visited.page.wait_for_timeout(1000)  # charts that become visible are drawn
    seen = visited.page.evaluate(FIRST_VISIBLE_HEADING)
    assert seen["top"] < 600
    assert visited.reloads_in(16)
    assert visited.page.url.endswith("#search-2")
    visited.page.wait_for_timeout(1000)
    assert visited.page.evaluate(FIRST_VISIBLE_HEADING) == {
        "text": seen["text"],
        "top": pytest.approx(seen["top"], abs=3),
    }
    assert visited.reloads_in(12)


@pytest.mark.browser
def test_pause_survives_a_reload_and_ends_with_resume(visit, live_page):
    visited = visit(live_page)
    visited.page.get_by_role("button", name="Pause").click()
    assert "does not reload" in visited.notice
    assert visited.does_not_reload_in(60)
    visited.page.reload()
    assert visited.does_not_reload_in(60)
    visited.page.get_by_role("button", name="Resume").click()
    assert visited.reloads_in(12)


@pytest.mark.browser
def test_mouse_and_keyboard_input_delays_the_reload(visit, live_page):
    visited = visit(live_page)
    page = visited.page
    for action in (
        lambda: page.mouse.move(200, 300),
        lambda: page.keyboard.press("Shift"),
        lambda: page.mouse.wheel(0, 50),
    ):
        assert visited.does_not_reload_in(7)
        action()
        page.wait_for_timeout(100)
        assert visited.does_not_reload_in(2)
        assert visited.reloads_in(8)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (
            "const d = document.createElement('dialog'); document.body.append(d); d.showModal()",
            "document.querySelectorAll('dialog[open]').forEach((d) => d.close())",
        ),
        (
            "const i = document.createElement('input'); document.body.append(i); i.focus()",
            "document.activeElement.blur()",
        ),
        (
            "Object.defineProperty(document, 'hidden', { value: true, configurable: true })",
            "delete document.hidden",
        ),
    ],
    ids=["dialog", "text", "hidden"],
)
def test_a_dialog_or_a_focused_field_or_a_hidden_page_prevents_a_reload(
    visit, live_page, begin, end
):
    visited = visit(live_page)
    visited.page.evaluate(f"() => {{ {begin} }}")
    assert visited.does_not_reload_in(60)
    visited.page.evaluate(f"() => {{ {end} }}")
    assert visited.reloads_in(8)


@pytest.mark.browser
def test_an_old_page_warns_that_the_watch_may_have_ended_and_reloads_rarely(visit, live_page):
    visited = visit(live_page, after_s=400)
    assert "the watch may have ended" in visited.notice
    assert "every 60 s" in visited.notice
    assert visited.does_not_reload_in(50)
    assert visited.reloads_in(12)
    assert "the watch may have ended" not in visit(live_page, after_s=200).notice
