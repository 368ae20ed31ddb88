"""What is recorded stays recorded, whatever cuts the recording off."""

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


def test_a_journal_gives_back_the_events_in_order(tmp_path):
    path = write_journal(tmp_path, EVENTS)
    assert comparable(read(path)) == comparable(EVENTS)
    assert path.read_bytes().count(b"\n") == len(EVENTS)


def test_a_later_session_appends(tmp_path):
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
def test_every_event_survives_its_journal_nan_and_infinities_too(tmp_path, events):
    path = tmp_path / JOURNAL_NAME
    path.unlink(missing_ok=True)
    written = [make_started("naïve\nname"), *events]
    write_journal(tmp_path, written)
    assert comparable(read(path)) == comparable(written)


def test_an_event_is_one_line_of_strict_json(tmp_path):
    path = write_journal(tmp_path, EVENTS)
    assert b"NaN" in path.read_bytes()
    assert not re.search(rb"[:\[,]\s*-?(NaN|Infinity)", path.read_bytes())


def test_text_that_is_no_unicode_is_recorded_with_escapes(tmp_path):
    """Such as a path in an error, or an argument of the command line, in Latin-1."""
    wild = os.fsdecode(b"caf\xe9.npz")
    events = [
        make_started(wild, source=wild, class_names=(wild,)),
        make_session(command=("vaetune", wild)),
        *make_trial_events("0000", status="failed", error=wild),
        SessionEnded(reason="error", message=wild),
    ]
    path = write_journal(tmp_path, events)
    assert path.read_bytes().count(rb"caf\\udce9.npz") == 6
    assert read(path) == events


def test_a_time_is_recorded_with_its_zone():
    event = SessionEnded(reason="completed")
    assert event.time.tzinfo is not None
    assert abs((datetime.now(UTC) - event.time).total_seconds()) < 60


# A torn last line

THREE = [*EVENTS[:2], EVENTS[-1]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a journal of three events, and where its last line starts."""
    folder = tmp_path_factory.mktemp("whole")
    content = write_journal(folder, THREE).read_bytes()
    return content, content[:-1].rfind(b"\n") + 1


def test_a_reader_ignores_a_last_line_torn_at_any_byte(tmp_path, whole):
    content, last = whole
    path = tmp_path / JOURNAL_NAME
    for end in range(last, len(content)):
        path.write_bytes(content[:end])
        assert read(path) == THREE[:2], end
        assert path.read_bytes() == content[:end], "only a writer repairs"
    path.write_bytes(content)
    assert read(path) == THREE


def test_a_writer_sets_a_last_line_torn_at_any_byte_aside_and_goes_on(tmp_path, whole):
    content, last = whole
    path = tmp_path / JOURNAL_NAME
    for end in range(last + 1, len(content)):
        path.write_bytes(content[:end])
        with Journal(path) as journal:
            assert journal.repaired.read_bytes() == content[last:end]
            journal.append(EVENTS[3])
        assert read(path) == [*THREE[:2], EVENTS[3]], end


def test_a_whole_journal_is_not_repaired(tmp_path, whole):
    content, last = whole
    path = tmp_path / JOURNAL_NAME
    for whole_lines in (b"", content[:last], content):
        path.write_bytes(whole_lines)
        with Journal(path) as journal:
            assert journal.repaired is None
        assert path.read_bytes() == whole_lines
    assert [entry.name for entry in tmp_path.iterdir()] == [JOURNAL_NAME]


def test_a_journal_torn_in_its_first_line_has_no_events(tmp_path, whole):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(whole[0][:40])
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
def test_a_damaged_line_is_shown_by_its_number(tmp_path, damaged):
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
def test_a_file_of_another_program_is_no_journal(tmp_path, content):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.jsonl is not a journal of vaetune"):
        read(path)


def test_an_empty_journal_has_no_events(tmp_path):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b"")
    assert read(path) == []


def test_a_missing_journal_is_shown(tmp_path):
    with pytest.raises(
        JournalError, match=r"no search in .*: journal\.jsonl is missing\. Expected"
    ):
        read(tmp_path / JOURNAL_NAME)


def test_a_journal_that_cannot_be_read_is_shown(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(JournalError, match=r"cannot be read: Is a directory"):
        read(tmp_path / JOURNAL_NAME)


def test_a_journal_that_cannot_be_written_is_shown(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(ResultsError, match=r"cannot be written: Is a directory"):
        Journal(tmp_path / JOURNAL_NAME)


# On the disk first


def test_an_event_is_on_the_disk_before_the_listener_is_shown(tmp_path, monkeypatch):
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


def test_a_repeated_event_is_shown_and_not_recorded_again(tmp_path):
    path = write_journal(tmp_path, EVENTS[:2])
    shown = []
    with Journal(path) as journal:
        journal.listener = shown.append
        journal.publish(EVENTS[2])
    assert shown == [EVENTS[2]]
    assert read(path) == EVENTS[:2]


# A full disk


def test_when_syncing_fails_the_journal_ends_with_the_event_before(tmp_path, monkeypatch):
    path = write_journal(tmp_path, EVENTS[:2])
    before = path.read_bytes()
    shown = []

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(path) as journal:
        journal.listener = shown.append
        with monkeypatch.context() as full_disk:
            full_disk.setattr(os, "fsync", no_space)
            with pytest.raises(ResultsError, match=r"No space left on device.*is kept"):
                journal.append(EVENTS[2])
        assert path.read_bytes() == before
        assert shown == []
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
def test_a_disk_that_fills_up_within_a_line_leaves_the_event_before(tmp_path, room):
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
    """Another process that holds the results in `tmp_path`."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path, holder):
    with pytest.raises(JournalError) as refused, lock_results(tmp_path):
        pass
    message = str(refused.value)
    assert f"in use by process {holder.pid} on {os.uname().nodename} since 20" in message
    assert "--results" in message


def test_a_refused_process_leaves_the_first_its_lock(tmp_path, holder):
    for _ in range(2):
        with pytest.raises(JournalError, match=str(holder.pid)), lock_results(tmp_path):
            pass


def test_readers_need_no_lock(tmp_path, holder):
    path = write_journal(tmp_path / "elsewhere", EVENTS[:2])
    path.rename(tmp_path / JOURNAL_NAME)
    assert len(read(tmp_path / JOURNAL_NAME)) == 2


def test_a_killed_process_leaves_nothing_that_blocks(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    with lock_results(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".holder").read_text()


def test_the_lock_goes_with_its_block_even_on_an_error(tmp_path):
    with pytest.raises(KeyError), lock_results(tmp_path / "new"):
        raise KeyError
    with lock_results(tmp_path / "new"):
        pass
    assert not (tmp_path / "new" / ".holder").exists()


def test_a_holder_that_cannot_be_named_still_holds(tmp_path, holder):
    (tmp_path / ".holder").write_text("{torn")
    with pytest.raises(JournalError, match="in use by another process"), lock_results(tmp_path):
        pass


def test_a_process_that_begins_while_somebody_looks_is_not_refused(tmp_path):
    look = FileLock(tmp_path / ".lock", thread_local=False)
    look.acquire()
    timer = threading.Timer(0.05, look.release)
    timer.start()
    with lock_results(tmp_path):
        pass
    timer.join()


def test_results_that_cannot_be_written_are_shown(tmp_path):
    (tmp_path / "results").write_text("a file")
    with (
        pytest.raises(ResultsError, match=r"results/tiny cannot be written: Not a directory"),
        lock_results(tmp_path / "results" / "tiny"),
    ):
        pass


def test_epochs_of_a_rung_count_all_its_trials():
    plan = make_started().plan
    assert [rung.epochs for rung in plan] == [3, 2]


def test_keys_of_a_later_version_are_ignored(tmp_path):
    path = write_journal(tmp_path, EVENTS[:1])
    epoch = make_epoch("0000", 1, 200.0).model_dump_json()
    with path.open("a") as file:
        file.write(epoch[:-1] + ',"beta":0.5}\n')
    assert read(path)[1] == make_epoch("0000", 1, 200.0)


def test_an_event_of_a_later_version_is_shown_as_such(tmp_path):
    path = write_journal(tmp_path, EVENTS[:1])
    with path.open("a") as file:
        file.write('{"time":"2026-03-04T05:06:07Z","event":"trial_dreamt","trial_id":"0000"}\n')
    with pytest.raises(JournalError, match="line 2 has the unknown event 'trial_dreamt': a later"):
        read(path)


def test_finalists_come_back_as_they_were_judged(tmp_path):
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 2): math.inf}, left_out=("0002",))
    retrained = make_retrained({"0001": (181.0, 182.0), "0000": (183.0, None)})
    events = [make_started(), rescored, retrained]
    assert list(read_journal(write_journal(tmp_path, events))) == events
