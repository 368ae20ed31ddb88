"""One search as a section of the page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from markupsafe import Markup

from vaetune.report import assets
from vaetune.report.analysis.importance import Importance, compute_importance, why_unknown
from vaetune.report.charts.brackets import Foresight, compute_foresight, compute_rungs, draw_rungs
from vaetune.report.charts.curves import (
    compute_curves,
    compute_progress,
    draw_curves,
    draw_progress,
)
from vaetune.report.charts.svg import to_svg
from vaetune.report.charts.tradeoffs import (
    Candidate,
    best_per_latent_dim,
    compute_tradeoffs,
    draw_tradeoff,
    list_candidates,
)
from vaetune.report.sections import headline as headlines
from vaetune.report.sections.finalists import Finalists, compute_finalists
from vaetune.report.sections.page_data import compute_records
from vaetune.report.sections.side_by_side import Pair, pair_pictures
from vaetune.report.sections.tables import (
    Fact,
    Leaderboard,
    Setting,
    list_incidents,
    list_settings,
    list_workers,
    rank_trials,
)
from vaetune.report.sections.thumbnails import collect_thumbnails
from vaetune.report.text.evaluations import PIXELS
from vaetune.study import Study, command

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


@dataclass(frozen=True)
class Chart:
    """An SVG element and what stands below it."""

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """The content of the page about one search.

    Attributes:
        anchor: Its id in the page.
        no_reference: Reason why the Keras example is missing; empty if it is there.
        export: The command that hands the winner over.
        evaluate: The command that judges it on the test images.
        pixels: Statement of how pixels were binarized, which losses depend on.
        finalists: The winner and the configurations that came next, if there are any.
        rungs: The brackets as they ran, if trials were promoted.
        foresight: Rank correlations between rungs.
        charts: Learning curves and best so far; none before the first epoch has ended.
        importance: Importance of the hyperparameters; None if there are too few trials.
        no_importance: Reason why importance is missing; empty if it is there.
        tradeoffs: Loss against what it costs; none before a trial has completed.
        sizes: The best configuration of each latent size.
        export_size: The command that hands one of them over.
        workers: Descriptions of the workers; empty where one process trained.
        incidents: Incidents other than the ends of trials, in order.
        data: Its trials as JSON that is safe within a script element.
    """

    anchor: str
    study: Study
    headline: str
    state: headlines.State
    comparison: headlines.Comparison | None
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


def build_section(
    study: Study, baseline: Study | None, anchor: str, now: datetime, is_running: bool
) -> Section:
    candidates = list_candidates(study, baseline) if study.winner else ()
    importance = compute_importance(study)
    return Section(
        anchor=anchor,
        study=study,
        headline=headlines.headline(study, baseline),
        state=headlines.state(study, now, is_running),
        comparison=headlines.compare(study, baseline),
        no_reference="" if baseline else headlines.no_reference(study),
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
    return assets.to_data(assets.printable_within(told))


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
