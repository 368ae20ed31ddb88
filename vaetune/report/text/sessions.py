"""Describes how a session differs from the one before it."""

from vaetune.config import may_compile
from vaetune.study import SessionStarted, Study, changes


def describe_session(past: Study | None, session: SessionStarted) -> str:
    """A warning if a session differs from the one before it; else empty.

    Args:
        past: The search as earlier sessions left it; None for a new one.
        session: The session that begins.
    """
    changed = session_changes(past.sessions[-1], session) if past and past.sessions else []
    if not changed:
        return ""
    return (
        f"Warning: this session differs from the one before: {'; '.join(changed)}. The same trial "
        "may give other numbers on it."
    )


def session_changes(before: SessionStarted, now: SessionStarted) -> list[str]:
    """Lists differences that may change a trial's losses, each as "what: before -> now"."""
    changed = changes(before.environment, now.environment)
    if before.compile is None or now.compile is None or before.compile == now.compile:
        return changed
    if _may_compile(before) or _may_compile(now):
        changed.append(f"training.compile: {before.compile} -> {now.compile}")
    return changed


def _may_compile(session: SessionStarted) -> bool:
    has_gpu = session.environment.device != "CPU"
    return session.compile is not None and may_compile(session.compile, has_gpu)
