"""Studies -> one HTML page that needs nothing else: no file, no network, no TensorFlow."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vaetune import __version__
from vaetune.errors import ResultsError
from vaetune.journal import is_in_use
from vaetune.report import answer, assets, wording
from vaetune.report.curves import compute_curves, compute_progress, draw_curves, draw_progress
from vaetune.report.finalists import Finalists, compute_finalists
from vaetune.report.importance import Importance, compute_importance, why_unknown
from vaetune.report.pairs import ROLE_NAMES, Pair, pair_pictures
from vaetune.report.race import compute_race, draw_race
from vaetune.report.records import compute_records
from vaetune.report.rungs import Foresight, compute_foresight, compute_rungs, draw_rungs
from vaetune.report.svg import to_svg
from vaetune.report.tables import (
    Contest,
    Fact,
    Leaderboard,
    Setting,
    compare_searches,
    list_incidents,
    list_settings,
    list_workers,
    rank_trials,
)
from vaetune.report.thumbnails import collect_thumbnails
from vaetune.report.tradeoffs import (
    Candidate,
    best_per_latent_dim,
    compute_tradeoffs,
    draw_tradeoff,
    list_candidates,
)
from vaetune.shelf import find_baseline, list_baselines, list_studies
from vaetune.study import BASELINES, Study, command
from vaetune.summary import PIXELS, counted

REPORT_NAME = "report.html"
GENERATOR = "vaetune"

_LIVE = b'<noscript><meta http-equiv="refresh"'
"""What only a live page has, near its beginning."""

_CURVES = (
    "Learning curves. One line a configuration, through its promotions; a dot where a trial ended, "
    "a triangle where its loss lies above the frame."
)
_PROGRESS = (
    "Best so far, among completed trials. Breaks between sessions are left out; training the "
    "Keras example counts."
)
_RACE = (
    "Best so far, among completed trials, of each search against its working time: breaks between "
    "sessions are left out; training the Keras example counts. The loss axis is logarithmic."
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
        evaluate: The command that judges it on the test images.
        pixels: What its losses are of.
        finalists: The winner beside the configurations that came next, if there are any.
        rungs: The brackets as they ran, if trials were promoted.
        foresight: How the rungs' orders agree.
        charts: Learning curves and best so far; none before the first epoch has ended.
        importance: What the best configurations have in common.
        no_importance: Why that is not told; empty if it is.
        tradeoffs: Loss against what it costs; none before a trial has completed.
        sizes: The best configuration of each latent size.
        export_size: The command that hands one of them over.
        workers: What trains; empty where a process does so alone.
        incidents: What happened to it beside its trials.
        data: Its trials as JSON that is safe within a script element.
    """

    anchor: str
    study: Study
    headline: str
    state: answer.State
    comparison: answer.Comparison | None
    no_reference: str
    export: str
    evaluate: str
    pixels: str
    pairs: tuple[Pair, ...]
    finalists: Finalists | None
    rungs: Chart | None
    foresight: tuple[Foresight, ...]
    charts: tuple[Chart, ...]
    importance: Importance | None
    no_importance: str
    tradeoffs: tuple[Chart, ...]
    sizes: tuple[Candidate, ...]
    export_size: str
    leaderboard: Leaderboard
    settings: tuple[Setting, ...]
    workers: tuple[Fact, ...]
    incidents: tuple[str, ...]
    data: Markup


def render_report(
    studies: Sequence[Study],
    baselines: Mapping[str, Study | None],
    now: datetime,
    unreadable: Mapping[str, str] | None = None,
    live: bool = False,
    running: Collection[str] = (),
) -> str:
    """Renders a page from what is recorded: the same text for the same input.

    Args:
        studies: Searches, the one to open with first.
        baselines: By the name of a search, the baseline to hold it against.
        now: When the page is written.
        unreadable: Why other searches are not on it, by their names.
        live: Whether it is to be written again and again: it then loads itself anew.
        running: The names of those that are known to be under way.
    """
    style, script = assets.read_style(), assets.read_script(live)
    sections = [
        _section(study, baselines.get(study.name), f"search-{number}", now, study.name in running)
        for number, study in enumerate(studies, start=1)
    ]
    contests = compare_searches(studies)
    return (
        _templates()
        .get_template("template.html.j2")
        .render(
            sections=sections,
            role_names=ROLE_NAMES,
            contests=contests,
            races=[_race(contest, f"race-{n}") for n, contest in enumerate(contests, start=1)],
            unreadable=unreadable or {},
            generator=f"{GENERATOR} {__version__}",
            now=now,
            live=live,
            style=Markup(style),
            script=Markup(script),
            policy=assets.allow_only(style, script),
        )
    )


def write_report(results: Path, live: bool = False) -> Path:
    """Renders `report.html` over all searches in a folder of results.

    Args:
        results: The folder.
        live: Whether the page is to be written again and again; see `watch`.

    Returns:
        The page's path.

    Raises:
        ResultsError: There is no search, the page cannot be written, or a file of another
            program is in its place.
        JournalError: No journal can be read.
    """
    target = results / REPORT_NAME
    refuse_foreign(target)
    shelf = list_studies(results)
    shelf.find(None)  # raises where there is none
    baselines = {study.name: find_baseline(study, results) for study in shelf.studies}
    unreadable = dict(shelf.unreadable)
    for name, reason in list_baselines(results).unreadable.items():
        unreadable[f"{BASELINES}/{name}"] = reason
    open_ended = [study for study in shelf.studies if live and study.last_end is None]
    running = {study.name for study in open_ended if is_in_use(study.folder)}
    page = render_report(shelf.studies, baselines, datetime.now(UTC), unreadable, live, running)
    _write_atomically(target, page.encode())
    return target


def is_live_page(page: Path) -> bool:
    """Whether a page is there that was written to be written again."""
    try:
        with page.open("rb") as file:
            return _LIVE in file.read(4096)
    except OSError:
        return False


def _section(
    study: Study, baseline: Study | None, anchor: str, now: datetime, is_running: bool
) -> Section:
    candidates = list_candidates(study, baseline) if study.winner else ()
    importance = compute_importance(study)
    return Section(
        anchor=anchor,
        study=study,
        headline=answer.headline(study, baseline),
        state=answer.state(study, now, is_running),
        comparison=answer.compare(study, baseline),
        no_reference="" if baseline else answer.no_reference(study),
        export=command("best", study, "--export"),
        evaluate=command("evaluate", study),
        pixels=f"{PIXELS[study.search.data.binarize].capitalize()}.",
        pairs=pair_pictures(study, baseline, anchor),
        finalists=compute_finalists(study),
        rungs=_rungs(study, anchor),
        foresight=compute_foresight(study),
        charts=_charts(study, baseline, anchor),
        importance=importance,
        no_importance="" if importance else why_unknown(study),
        tradeoffs=_tradeoffs(candidates, anchor),
        sizes=best_per_latent_dim(candidates),
        export_size=command("best", study, "--latent-dim", "N", "--export"),
        leaderboard=rank_trials(study),
        settings=list_settings(study),
        workers=list_workers(study),
        incidents=list_incidents(study),
        data=_data(study, baseline),
    )


def _data(study: Study, baseline: Study | None) -> Markup:
    """A study's trials and their pictures, for the page's script."""
    records = asdict(compute_records(study, baseline))
    told = records | {"pictures": asdict(collect_thumbnails(study))}
    return assets.to_data(_printable_within(told))


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


def _race(contest: Contest, name: str) -> Chart:
    info = compute_race(contest.studies)
    said = "Lowest validation loss so far of each search against its working time"
    left_out = f" {info.left_out} more with worse winners are not drawn." if info.left_out else ""
    return Chart(Markup(to_svg(draw_race(info), name, said)), _RACE + left_out)


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
        wording.clock,
        wording.whole,
        counted,
        wording.hyperparameter,
        wording.duration,
        wording.percent,
    )
    templates.filters |= {word.__name__: word for word in words}
    return templates


def _printable_within(told: Any) -> Any:
    """The same for all text in what JSON will hold."""
    if isinstance(told, Mapping):
        return {key: _printable_within(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_printable_within(value) for value in told]
    return _printable(told)


def _printable(value: Any) -> Any:
    """Marks characters that no page may hold; what is markup is the page's own."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def refuse_foreign(target: Path) -> None:
    """Leaves a page alone that vaetune did not write.

    Raises:
        ResultsError: There is one.
    """
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
        raise ResultsError(
            f"{target} cannot be written: {error.strerror}. What is recorded is unharmed; "
            "`vaetune report` writes the page again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
