"""Studies -> one HTML page that needs nothing else: no file, no network, no TensorFlow."""

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vaetune import __version__
from vaetune.errors import ResultsError
from vaetune.report import answer, wording
from vaetune.report.curves import compute_curves, compute_progress, draw_curves, draw_progress
from vaetune.report.pairs import ROLE_NAMES, Pair, pair_pictures
from vaetune.report.rungs import Foresight, compute_foresight, compute_rungs, draw_rungs
from vaetune.report.svg import to_svg
from vaetune.report.tables import (
    Leaderboard,
    Setting,
    compare_searches,
    list_incidents,
    list_settings,
    rank_trials,
)
from vaetune.report.tradeoffs import (
    Candidate,
    best_per_latent_dim,
    compute_tradeoffs,
    draw_tradeoff,
    list_candidates,
)
from vaetune.study import BASELINES, Study, find_baseline, list_baselines, list_studies

REPORT_NAME = "report.html"
GENERATOR = "vaetune"

_CURVES = (
    "Learning curves. One line a configuration, through its promotions; a dot where a trial ended, "
    "a triangle where its loss lies above the frame."
)
_PROGRESS = (
    "Best so far, among completed trials. Breaks between sessions are left out; training the "
    "Keras example counts."
)
_RUNGS = (
    "Brackets. A dot a trial where its rung ended, a line for each promotion, a cross where a "
    "trial failed. Both axes are logarithmic."
)
_TRADEOFFS = (
    "Loss against size. A dot a completed configuration, at its lowest loss.",
    "Loss against the wall time of a configuration through its promotions.",
    "Rate against distortion, which add up to the negative ELBO.",
)
_FOLDER = Path(__file__).parent
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""What HTML forbids, and what turns the direction of the text that follows."""


@dataclass(frozen=True)
class Chart:
    """An SVG element and what stands below it."""

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """What the page tells of one search.

    Attributes:
        anchor: Its id in the page.
        no_reference: Why there is no Keras example beside the winner; empty if there is.
        export: The command that hands the winner over.
        rungs: The brackets as they ran, if trials were promoted.
        foresight: How the rungs' orders agree.
        charts: Learning curves and best so far; none before the first epoch has ended.
        tradeoffs: Loss against what it costs; none before a trial has completed.
        sizes: The best configuration of each latent size.
        export_size: The command that hands one of them over.
        incidents: What happened to it beside its trials.
    """

    anchor: str
    study: Study
    headline: str
    state: answer.State
    comparison: answer.Comparison | None
    no_reference: str
    export: str
    pairs: tuple[Pair, ...]
    rungs: Chart | None
    foresight: tuple[Foresight, ...]
    charts: tuple[Chart, ...]
    tradeoffs: tuple[Chart, ...]
    sizes: tuple[Candidate, ...]
    export_size: str
    leaderboard: Leaderboard
    settings: tuple[Setting, ...]
    incidents: tuple[str, ...]


def render_report(
    studies: Sequence[Study],
    baselines: Mapping[str, Study | None],
    now: datetime,
    unreadable: Mapping[str, str] | None = None,
) -> str:
    """Renders a page from what is recorded: the same text for the same input.

    Args:
        studies: Searches, the one to open with first.
        baselines: By the name of a search, the baseline to hold it against.
        now: When the page is written.
        unreadable: Why other searches are not on it, by their names.
    """
    style, script = _asset("report.css"), _asset("report.js")
    sections = [
        _section(study, baselines.get(study.name), f"search-{number}", now)
        for number, study in enumerate(studies, start=1)
    ]
    return (
        _templates()
        .get_template("template.html.j2")
        .render(
            sections=sections,
            role_names=ROLE_NAMES,
            contests=compare_searches(studies),
            unreadable=unreadable or {},
            generator=f"{GENERATOR} {__version__}",
            now=now,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
        )
    )


def write_report(results: Path) -> Path:
    """Renders `report.html` over all searches in a folder of results.

    Returns:
        The page's path.

    Raises:
        ResultsError: There is no search, the page cannot be written, or a file of another
            program is in its place.
        JournalError: No journal can be read.
    """
    target = results / REPORT_NAME
    _refuse_foreign(target)
    shelf = list_studies(results)
    shelf.find(None)  # raises where there is none
    baselines = {study.name: find_baseline(study, results) for study in shelf.studies}
    unreadable = dict(shelf.unreadable)
    for name, reason in list_baselines(results).unreadable.items():
        unreadable[f"{BASELINES}/{name}"] = reason
    page = render_report(shelf.studies, baselines, datetime.now(UTC), unreadable)
    _write_atomically(target, page.encode())
    return target


def _section(study: Study, baseline: Study | None, anchor: str, now: datetime) -> Section:
    candidates = list_candidates(study, baseline) if study.winner else ()
    return Section(
        anchor=anchor,
        study=study,
        headline=answer.headline(study, baseline),
        state=answer.state(study, now),
        comparison=answer.compare(study, baseline),
        no_reference="" if baseline else answer.no_reference(study),
        export=wording.command("best", study, "--export"),
        pairs=pair_pictures(study, baseline, anchor),
        rungs=_rungs(study, anchor),
        foresight=compute_foresight(study),
        charts=_charts(study, baseline, anchor),
        tradeoffs=_tradeoffs(candidates, anchor),
        sizes=best_per_latent_dim(candidates),
        export_size=wording.command("best", study, "--latent-dim", "N", "--export"),
        leaderboard=rank_trials(study),
        settings=list_settings(study),
        incidents=list_incidents(study),
    )


def _charts(study: Study, baseline: Study | None, anchor: str) -> tuple[Chart, ...]:
    if not study.epochs_trained:
        return ()
    curves = compute_curves(study, baseline)
    progress = compute_progress(study, baseline)
    lines = to_svg(
        draw_curves(curves),
        f"{anchor}-curves",
        "Validation loss of each configuration against epochs",
    )
    steps = to_svg(
        draw_progress(progress),
        f"{anchor}-progress",
        "Lowest validation loss so far against time",
    )
    return (Chart(Markup(lines), _CURVES), Chart(Markup(steps), _PROGRESS))


def _rungs(study: Study, anchor: str) -> Chart | None:
    info = compute_rungs(study)
    if info is None:
        return None
    drawing = to_svg(
        draw_rungs(info), f"{anchor}-rungs", "Losses where rungs ended, a panel a bracket"
    )
    return Chart(Markup(drawing), _RUNGS)


def _tradeoffs(candidates: Sequence[Candidate], anchor: str) -> tuple[Chart, ...]:
    if not candidates:
        return ()
    return tuple(
        Chart(
            Markup(
                to_svg(
                    draw_tradeoff(info),
                    f"{anchor}-tradeoff-{number}",
                    f"{info.y_label} against {info.x_label}, a point a configuration",
                )
            ),
            caption,
        )
        for number, (info, caption) in enumerate(
            zip(compute_tradeoffs(candidates), _TRADEOFFS, strict=True)
        )
    )


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("vaetune.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (
        wording.nats,
        wording.instant,
        wording.whole,
        wording.counted,
        wording.hyperparameter,
        wording.duration,
    )
    templates.filters |= {word.__name__: word for word in words}
    return templates


def _printable(value: Any) -> Any:
    """Marks characters that no page may hold; what is markup is the page's own."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Allows this page's own style and script and the images within it, and no request."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _refuse_foreign(target: Path) -> None:
    """Leaves a page alone that vaetune did not write."""
    try:
        with target.open("rb") as page:
            head = page.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{target} cannot be replaced: {error.strerror}.") from error
    if f'<meta name="generator" content="{GENERATOR} '.encode() not in head:
        raise ResultsError(
            f"{target} was not written by vaetune and will not be overwritten. "
            "Move it away, or use other results with --results."
        )


def _write_atomically(target: Path, content: bytes) -> None:
    """A reader sees the old page or the new one, whenever the power goes."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResultsError(
            f"{target} cannot be written: {error.strerror}. What is recorded is unharmed; "
            "`vaetune report` writes the page again."
        ) from error
