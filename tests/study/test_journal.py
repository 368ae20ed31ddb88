"""Recorded events stay in the journal, even if writing is interrupted."""

import errno
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings, strategies as st
from journals import (
    make_epoch,
    make_rescored,
    make_retrained,
    make_session,
    make_session_end,
    make_started,
    make_trial_events,
    write_journal,
)

from vaetune.errors import JournalError, ResultsError
from vaetune.files import lock_results
from vaetune.study.events import FORMAT, EpochEnded, SessionEnded, TrialEnded, TrialStarted
from vaetune.study.journal import JOURNAL_NAME, Journal, read_journal

EVENTS = [
    make_started(),
    make_session(),
    *make_trial_events("0000", [200.0, 190.0]),
    *make_trial_events("0001", [math.nan], status="failed", error="A loss became NaN.\nIt did."),
    make_session_end("interrupted"),
]


def read(path):
    return list(read_journal(path))


def comparable(value):
    """Events as plain data in which NaN equals NaN."""
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case Mapping():
            return {key: comparable(part) for key, part in value.items()}
        case list() | tuple():
            return [comparable(part) for part in value]
    return value if not hasattr(value, "model_dump") else comparable(value.model_dump())


# Round trip


def test_events_are_read_back_in_order(tmp_path):
    path = write_journal(tmp_path, EVENTS)
    assert comparable(read(path)) == comparable(EVENTS)
    assert path.read_bytes().count(b"\n") == len(EVENTS)


def test_a_later_session_appends_to_the_journal(tmp_path):
    write_journal(tmp_path, EVENTS[:3])
    path = write_journal(tmp_path, EVENTS[3:])
    assert comparable(read(path)) == comparable(EVENTS)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.datetimes(timezones=st.just(UTC))
losses = st.floats(allow_nan=True, allow_infinity=True)
epochs = st.builds(
    EpochEnded,
    time=times,
    trial_id=names,
    epoch=st.integers(0, 999),
    **{
        f"{part}loss": losses
        for part in ("", "reconstruction_", "kl_", "val_", "val_reconstruction_", "val_kl_")
    },
    train_s=losses,
    validation_s=losses,
)
starts = st.builds(
    TrialStarted,
    time=times,
    trial_id=names,
    configuration=st.integers(0),
    parent=st.none() | names,
    bracket=st.integers(0, 9),
    rung=st.integers(0, 9),
    epoch_from=st.integers(0, 9),
    epoch_to=st.integers(0, 9),
    hyperparameters=st.dictionaries(
        names, st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    ),
)
ends = st.builds(
    TrialEnded,
    time=times,
    trial_id=names,
    status=st.sampled_from(["completed", "failed"]),
    score=st.none() | losses,
    parameters=st.none() | st.integers(0),
    duration_s=losses,
    error=st.none() | names,
    traceback=st.none() | names,
)
sessions = st.builds(
    lambda command, versions: make_session(command=tuple(command), versions=versions),
    st.lists(names),
    st.dictionaries(names, names),
)
stops = st.builds(
    SessionEnded,
    time=times,
    reason=st.sampled_from(["completed", "interrupted", "error"]),
    message=st.none() | names,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(epochs | starts | ends | sessions | stops, max_size=6))
def test_every_event_is_read_back_even_with_nan_and_infinity(tmp_path, events):
    path = tmp_path / JOURNAL_NAME
    path.unlink(missing_ok=True)
    written = [make_started("naïve\nname"), *events]
    write_journal(tmp_path, written)
    assert comparable(read(path)) == comparable(written)


def test_an_event_is_one_line_of_strict_json(tmp_path):
    path = write_journal(tmp_path, EVENTS)
    assert b"NaN" in path.read_bytes()
    assert not re.search(rb"[:\[,]\s*-?(NaN|Infinity)", path.read_bytes())


def test_text_that_is_not_unicode_is_recorded_with_escapes(tmp_path):
    """Paths in errors and arguments of the command line may be in Latin-1."""
    undecodable = os.fsdecode(b"caf\xe9.npz")
    events = [
        make_started(undecodable, source=undecodable, class_names=(undecodable,)),
        make_session(command=("vaetune", undecodable)),
        *make_trial_events("0000", status="failed", error=undecodable),
        SessionEnded(reason="error", message=undecodable),
    ]
    path = write_journal(tmp_path, events)
    assert path.read_bytes().count(rb"caf\\udce9.npz") == 6
    assert read(path) == events


def test_the_time_of_an_event_has_a_time_zone():
    event = SessionEnded(reason="completed")
    assert event.time.tzinfo is not None
    assert abs((datetime.now(UTC) - event.time).total_seconds()) < 60


# An incomplete last line

THREE_EVENTS = [*EVENTS[:2], EVENTS[-1]]


@pytest.fixture(scope="module")
def complete_journal(tmp_path_factory):
    """The bytes of a journal of three events, and the offset of its last line."""
    folder = tmp_path_factory.mktemp("whole")
    content = write_journal(folder, THREE_EVENTS).read_bytes()
    return content, content[:-1].rfind(b"\n") + 1


def test_a_reader_ignores_a_last_line_that_is_cut_at_any_byte(tmp_path, complete_journal):
    content, last = complete_journal
    path = tmp_path / JOURNAL_NAME
    for end in range(last, len(content)):
        path.write_bytes(content[:end])
        assert read(path) == THREE_EVENTS[:2], end
        assert path.read_bytes() == content[:end], "only a writer repairs a journal"
    path.write_bytes(content)
    assert read(path) == THREE_EVENTS


def test_a_writer_moves_an_incomplete_last_line_to_a_file_and_continues(tmp_path, complete_journal):
    content, last = complete_journal
    path = tmp_path / JOURNAL_NAME
    for end in range(last + 1, len(content)):
        path.write_bytes(content[:end])
        with Journal(path) as journal:
            assert journal.repaired.read_bytes() == content[last:end]
            journal.append(EVENTS[3])
        assert read(path) == [*THREE_EVENTS[:2], EVENTS[3]], end


def test_a_complete_journal_is_not_repaired(tmp_path, complete_journal):
    content, last = complete_journal
    path = tmp_path / JOURNAL_NAME
    for whole_lines in (b"", content[:last], content):
        path.write_bytes(whole_lines)
        with Journal(path) as journal:
            assert journal.repaired is None
        assert path.read_bytes() == whole_lines
    assert [entry.name for entry in tmp_path.iterdir()] == [JOURNAL_NAME]


def test_a_journal_with_an_incomplete_first_line_has_no_events(tmp_path, complete_journal):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(complete_journal[0][:40])
    assert read(path) == []


# Damage


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"null",
        b'{"event": "epoch_ended", "trial_id": "0000"}',
        b"\x00\x00\x00",
        b'{"event": "session_ended", "reason": "\xff"}',
    ],
)
def test_a_damaged_line_is_reported_with_its_number(tmp_path, damaged):
    path = write_journal(tmp_path, EVENTS)
    lines = path.read_bytes().splitlines()
    lines[2] = damaged
    path.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 3 is damaged .* --overwrite"):
        read(path)


def test_a_journal_of_an_unknown_format_is_refused_with_advice(tmp_path):
    path = write_journal(tmp_path, EVENTS)
    text = path.read_text()
    assert f'"format":{FORMAT}' in text
    path.write_text(text.replace(f'"format":{FORMAT}', '"format":99', 1))
    with pytest.raises(JournalError) as refused:
        read(path)
    assert (
        "has format 99, which is newer. This version of vaetune reads the formats up to 2"
        in str(refused.value)
    )
    assert "Use the version that wrote it" in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"hello\n", b"[1]\n", b"{}\n", b"\n", b"\xff\xfe\n", b'{"loss": 1}\n{}\n']
)
def test_a_file_of_another_program_is_refused(tmp_path, content):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.jsonl is not a journal of vaetune"):
        read(path)


def test_an_empty_journal_has_no_events(tmp_path):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b"")
    assert read(path) == []


def test_a_missing_journal_is_reported(tmp_path):
    with pytest.raises(
        JournalError, match=r"no search in .*: journal\.jsonl is missing\. Expected"
    ):
        read(tmp_path / JOURNAL_NAME)


def test_an_unreadable_journal_is_reported(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(JournalError, match=r"cannot be read: Is a directory"):
        read(tmp_path / JOURNAL_NAME)


def test_an_unwritable_journal_is_reported(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(ResultsError, match=r"cannot be written: Is a directory"):
        Journal(tmp_path / JOURNAL_NAME)


# The disk and the listener


def test_an_event_is_on_the_disk_before_the_listener_is_called(tmp_path, monkeypatch):
    path = tmp_path / JOURNAL_NAME
    steps = []
    fsync = os.fsync

    def sync(descriptor):
        fsync(descriptor)
        steps.append(("synced", len(read(path))))

    monkeypatch.setattr(os, "fsync", sync)
    with Journal(path) as journal:
        journal.listener = lambda event: steps.append(("shown", event.event))
        journal.append(EVENTS[0])
        journal.append(EVENTS[1])
    assert steps == [
        ("synced", 1),
        ("shown", "search_started"),
        ("synced", 2),
        ("shown", "session_started"),
    ]


def test_a_published_event_reaches_the_listener_and_is_not_recorded(tmp_path):
    path = write_journal(tmp_path, EVENTS[:2])
    received = []
    with Journal(path) as journal:
        journal.listener = received.append
        journal.publish(EVENTS[2])
    assert received == [EVENTS[2]]
    assert read(path) == EVENTS[:2]


# A full disk


def test_after_a_failed_sync_the_journal_ends_with_the_previous_event(tmp_path, monkeypatch):
    path = write_journal(tmp_path, EVENTS[:2])
    before = path.read_bytes()
    received = []

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(path) as journal:
        journal.listener = received.append
        with monkeypatch.context() as full_disk:
            full_disk.setattr(os, "fsync", no_space)
            with pytest.raises(ResultsError, match=r"No space left on device.*is kept"):
                journal.append(EVENTS[2])
        assert path.read_bytes() == before
        assert received == []
        journal.append(EVENTS[3])
    assert read(path) == [*EVENTS[:2], EVENTS[3]]


def test_an_incomplete_line_that_cannot_be_removed_is_removed_by_the_next_event(
    tmp_path, monkeypatch
):
    path = write_journal(tmp_path, EVENTS[:2])

    def fail(*given):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with Journal(path) as journal:
        with monkeypatch.context() as read_only:
            read_only.setattr(os, "fsync", fail)
            read_only.setattr(os, "truncate", fail)
            for _ in range(2):
                with pytest.raises(ResultsError, match="Read-only file system"):
                    journal.append(EVENTS[2])
        journal.append(EVENTS[3])
    assert read(path) == [*EVENTS[:2], EVENTS[3]]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from vaetune.errors import ResultsError
from vaetune.study import Journal, SessionEnded

path, room = Path(sys.argv[1]), int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
before = path.read_bytes()
with Journal(path) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, unlimited[1]))
    for _ in range(2):
        try:
            journal.append(SessionEnded(reason="error", message="x" * 200))
        except ResultsError:
            pass
        else:
            sys.exit("a full disk was not reported")
        if path.read_bytes() != before:
            sys.exit(f"left behind: {path.read_bytes()[len(before):]}")
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    journal.append(SessionEnded(reason="completed"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by POSIX means")
@pytest.mark.parametrize("room", [0, 1, 200])
def test_a_disk_that_fills_up_within_a_line_keeps_the_previous_events(tmp_path, room):
    path = write_journal(tmp_path, EVENTS[:2])
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, str(room)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *before, last = read(path)
    assert before == EVENTS[:2]
    assert last.reason == "completed"


# One writer

HOLD = """
import sys, time
from pathlib import Path
from vaetune.files import lock_results
with lock_results(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the results in `tmp_path`."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_the_first_one_is_named(tmp_path, holder):
    with pytest.raises(JournalError) as refused, lock_results(tmp_path):
        pass
    message = str(refused.value)
    assert f"in use by process {holder.pid} on {os.uname().nodename} since 20" in message
    assert "--results" in message


def test_a_refused_process_does_not_release_the_lock(tmp_path, holder):
    for _ in range(2):
        with pytest.raises(JournalError, match=str(holder.pid)), lock_results(tmp_path):
            pass


def test_readers_need_no_lock(tmp_path, holder):
    path = write_journal(tmp_path / "elsewhere", EVENTS[:2])
    path.rename(tmp_path / JOURNAL_NAME)
    assert len(read(tmp_path / JOURNAL_NAME)) == 2


def test_the_lock_of_a_killed_process_is_released(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    with lock_results(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".holder").read_text()


def test_the_lock_is_released_after_its_block_and_after_an_error(tmp_path):
    with pytest.raises(KeyError), lock_results(tmp_path / "new"):
        raise KeyError
    with lock_results(tmp_path / "new"):
        pass
    assert not (tmp_path / "new" / ".holder").exists()


def test_a_lock_with_a_damaged_holder_file_refuses_other_processes(tmp_path, holder):
    (tmp_path / ".holder").write_text("{torn")
    with pytest.raises(JournalError, match="in use by another process"), lock_results(tmp_path):
        pass


def test_a_process_waits_for_a_lock_that_is_held_for_a_moment(tmp_path):
    # `is_in_use` holds the lock for a moment, too.
    short_lock = FileLock(tmp_path / ".lock", thread_local=False)
    short_lock.acquire()
    timer = threading.Timer(0.05, short_lock.release)
    timer.start()
    with lock_results(tmp_path):
        pass
    timer.join()


def test_an_unwritable_results_folder_is_reported(tmp_path):
    (tmp_path / "results").write_text("a file")
    with (
        pytest.raises(ResultsError, match=r"results/tiny cannot be written: Not a directory"),
        lock_results(tmp_path / "results" / "tiny"),
    ):
        pass


def test_the_epochs_of_a_rung_are_those_of_all_its_trials():
    plan = make_started().plan
    assert [rung.epochs for rung in plan] == [3, 2]


def test_keys_of_a_later_version_are_ignored(tmp_path):
    path = write_journal(tmp_path, EVENTS[:1])
    epoch = make_epoch("0000", 1, 200.0).model_dump_json()
    with path.open("a") as file:
        file.write(epoch[:-1] + ',"beta":0.5}\n')
    assert read(path)[1] == make_epoch("0000", 1, 200.0)


def test_an_event_of_a_later_version_is_reported(tmp_path):
    path = write_journal(tmp_path, EVENTS[:1])
    with path.open("a") as file:
        file.write('{"time":"2026-03-04T05:06:07Z","event":"trial_dreamt","trial_id":"0000"}\n')
    with pytest.raises(JournalError, match="line 2 has the unknown event 'trial_dreamt': a later"):
        read(path)


def test_measurements_of_finalists_are_read_back_unchanged(tmp_path):
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 2): math.inf}, left_out=("0002",))
    retrained = make_retrained({"0001": (181.0, 182.0), "0000": (183.0, None)})
    events = [make_started(), rescored, retrained]
    assert list(read_journal(write_journal(tmp_path, events))) == events
