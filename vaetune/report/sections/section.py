"""One search as a section of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from markupsafe import Markup

from vaetune.config import LIKELIHOODS
from vaetune.report import assets
from vaetune.report.analysis.importance import (
    Importance,
    compute_importance,
    explain_missing_importance,
)
from vaetune.report.charts.brackets import (
    RungCorrelation,
    compute_rung_correlations,
    compute_rungs,
    draw_rungs,
)
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
from vaetune.report.sections.decisions import Decisions, compute_decisions
from vaetune.report.sections.explanation import PathToWinner, compute_path
from vaetune.report.sections.finalists import Finalists, compute_finalists, list_pictured
from vaetune.report.sections.images_read import ImagesRead, describe_images_read
from vaetune.report.sections.incidents import list_incidents
from vaetune.report.sections.latent_use import describe_latent_use
from vaetune.report.sections.page_data import compute_records
from vaetune.report.sections.side_by_side import ROLE_NAMES, Pair, Role, pair_pictures
from vaetune.report.sections.study_state import State, describe_state
from vaetune.report.sections.tables import (
    Fact,
    Leaderboard,
    Setting,
    list_settings,
    list_workers,
    rank_trials,
)
from vaetune.report.sections.thumbnails import collect_thumbnails
from vaetune.report.sections.worst_images import Worst, show_worst_images
from vaetune.report.text.collapse import count_collapsed
from vaetune.report.text.evaluations import PIXELS
from vaetune.report.text.images import describe_image_set
from vaetune.report.verdicts.collect import compute_verdicts, describe_verdicts
from vaetune.report.verdicts.verdict import Verdict
from vaetune.study import Explanation, Study, command, evaluate_command

_CURVES = (
    "Learning curves. Each line is a {line}. Dots mark the ends of trials, triangles those with a "
    "{value} {worse} the frame."
)

_PROGRESS = (
    "{best} so far among completed trials. Breaks between sessions are excluded; the time to "
    "train the Keras example is included."
)

_RUNGS = (
    "Each dot is a trial after its last epoch. A line leads to the trial that continues it. A "
    "cross is a failed trial."
)

_LOGARITHMIC = " Both axes are logarithmic."

_TRADEOFFS = (
    "{heading} against size. Each dot is a completed configuration at its {best}.",
    "{heading} against training time{total}.",
    "Distortion against rate. They add up to the negative ELBO.",
)


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        drawing: SVG element.
        caption: Text below the chart.
    """

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """All content of the page about one search.

    Attributes:
        anchor: Id of the section in the page.
        study: Search to show.
        images: Name, number and shape of the images.
        headline: Result in one sentence.
        state: State of the search, and how to continue it.
        verdicts: Points that could be better, the most important first.
        verdicts_note: Explanation below the verdicts; empty if none is needed.
        comparison: Comparison of the winner with the Keras example, or None without a winner.
        no_reference: Reason why there is no Keras example; empty if there is one.
        example: Losses of the Keras example itself, if it cannot be compared; else empty.
        role_names: Names of the winner and of the Keras example.
        export: Command that exports the winner.
        evaluate: Command that evaluates the winner on the test images.
        pixels: Description of the pixels that losses are computed for.
        pairs: Images of the winner and of the Keras example.
        worst: Images that the winner reconstructs worst, or None if they were not kept.
        finalists: Best configurations, or None if there are fewer than two.
        rungs: Chart of brackets and rungs, or None if no trial was promoted.
        rung_correlations: Rank correlations of losses at the ends of rungs.
        decisions: Expected and reached losses, or None if the algorithm records no decisions.
        charts: Learning curves and lowest loss so far; empty before the first epoch has ended.
        path: Worth of each group of choices of the winner, or None.
        importance: Importance of the hyperparameters, or None.
        no_importance: Reason why there are no importances; empty if there are.
        tradeoffs: Charts of loss against costs; empty before a trial has completed.
        latents: Latent dimensions that the winner uses, and the loss by their number, in a
            sentence; empty if nothing is known.
        sizes: Best configuration for each latent_dim.
        names_levels: True if a configuration has several levels of latent variables.
        export_size: Command that exports one of these.
        collapsed: Number of collapsed trials in a sentence; empty if it was not measured.
        leaderboard: Table of all trials.
        settings: Resolved values of the search and their origins.
        workers: Rows about the workers; empty if the process of the search trained all trials.
        incidents: Sentences about interruptions, lost workers and changes.
        images_read: The images, and how they were read.
        data: Trials as JSON that is safe within a script element.
    """

    anchor: str
    study: Study
    images: str
    headline: str
    state: State
    verdicts: tuple[Verdict, ...]
    verdicts_note: str
    comparison: headlines.Comparison | None
    no_reference: str
    example: str
    role_names: Mapping[Role, str]
    export: str
    evaluate: str
    pixels: str
    pairs: tuple[Pair, ...]
    worst: Worst | None
    finalists: Finalists | None
    rungs: Chart | None
    rung_correlations: tuple[RungCorrelation, ...]
    decisions: Decisions | None
    charts: tuple[Chart, ...]
    path: PathToWinner | None
    importance: Importance | None
    no_importance: str
    tradeoffs: tuple[Chart, ...]
    latents: str
    sizes: tuple[Candidate, ...]
    names_levels: bool
    export_size: str
    collapsed: str
    leaderboard: Leaderboard
    settings: tuple[Setting, ...]
    workers: tuple[Fact, ...]
    incidents: tuple[str, ...]
    images_read: ImagesRead
    data: Markup


def build_section(
    study: Study,
    baseline: Study | None,
    example: Study | None,
    anchor: str,
    now: datetime,
    is_running: bool,
    explanation: Explanation | None = None,
) -> Section:
    """Computes all content of the page about one search.

    Args:
        study: Search to show.
        baseline: Run of the Keras example that can be compared, from `find_baseline`, or None.
        example: Run of the Keras example that cannot be compared, from `find_example`, or None.
        anchor: Id of the section in the page.
        now: Time at which the page is written.
        is_running: True if the search is known to be running.
        explanation: Path from the Keras example to its winner, or None.
    """
    candidates = list_candidates(study, baseline) if study.winner else ()
    importance, verdicts = compute_importance(study), compute_verdicts(study)
    return Section(
        anchor=anchor,
        study=study,
        images=describe_image_set(study.started.data, study.search.data),
        headline=headlines.headline(study, baseline),
        state=describe_state(study, now, is_running),
        verdicts=verdicts,
        verdicts_note=describe_verdicts(study, verdicts),
        comparison=headlines.compare(study, baseline),
        no_reference="" if baseline else headlines.no_reference(study),
        example=headlines.describe_example(study, example),
        role_names={**ROLE_NAMES, "reference": study.reference_name},
        export=command("best", study, "--export"),
        evaluate=evaluate_command(study),
        pixels=f"{PIXELS[study.search.data.binarize].capitalize()}.{_describe_bits(study)}",
        pairs=pair_pictures(study, baseline, anchor),
        worst=show_worst_images(study),
        finalists=compute_finalists(study),
        rungs=_rungs(study, anchor),
        rung_correlations=compute_rung_correlations(study),
        decisions=compute_decisions(study),
        charts=_charts(study, baseline, anchor),
        path=compute_path(explanation),
        importance=importance,
        no_importance="" if importance else explain_missing_importance(study),
        tradeoffs=_tradeoffs(candidates, study, anchor),
        latents=describe_latent_use(study),
        sizes=best_per_latent_dim(candidates),
        names_levels=any(one.levels > 1 for one in candidates),
        export_size=command("best", study, "--latent-dim", "N", "--export"),
        collapsed=count_collapsed(study),
        leaderboard=rank_trials(study),
        settings=list_settings(study),
        workers=list_workers(study),
        incidents=list_incidents(study),
        images_read=describe_images_read(study),
        data=_data(study, baseline),
    )


def _describe_bits(study: Study) -> str:
    """Explains the losses of a likelihood other than the Keras example's; else empty."""
    words = LIKELIHOODS[study.likelihood]
    if words.shift is None:
        return ""
    text = f" The reconstruction loss is the {words.loss}"
    if not words.shift:
        return f"{text}. Bits per dimension divide the loss by the values of an image."
    return (
        f"{text} on [0, 1], so losses may be negative. Bits per dimension divide the loss by the "
        "values of an image and add 8 bits, as for densities of 256 levels."
    )


def _data(study: Study, baseline: Study | None) -> Markup:
    """The trials and their images as JSON, for the page's script."""
    records = asdict(compute_records(study, baseline))
    images = {"pictures": asdict(collect_thumbnails(study, list_pictured(study)))}
    return assets.to_json(assets.replace_unprintable(records | images))


def _charts(study: Study, baseline: Study | None, anchor: str) -> tuple[Chart, ...]:
    if not study.epochs_trained:
        return ()
    curves = compute_curves(study, baseline)
    progress = compute_progress(study, baseline)
    objective = study.objective
    lines = to_svg(
        draw_curves(curves),
        f"{anchor}-curves",
        f"{objective.heading} of each configuration against epochs",
    )
    steps = to_svg(
        draw_progress(progress),
        f"{anchor}-progress",
        f"{objective.best_heading} so far against time",
    )
    captions = (_worded(caption, study) for caption in (_CURVES, _PROGRESS))
    return tuple(map(Chart, (Markup(lines), Markup(steps)), captions))


def _worded(caption: str, study: Study) -> str:
    """Returns a caption with the words for a search: its objective, and whether trials continue."""
    objective = study.objective
    continues = any(trial.parent is not None for trial in study.trials)
    best = "lowest loss" if objective.is_loss else objective.best_title
    text = caption.format(
        value="loss" if objective.is_loss else objective.title,
        heading="Loss" if objective.is_loss else objective.heading,
        best=best,
        worse=objective.worse,
        line="configuration, through all of its trials" if continues else "trial",
        total=", which includes all trials of a configuration" if continues else "",
    )
    return f"{text[0].upper()}{text[1:]}" if text.startswith(best) else text


def _rungs(study: Study, anchor: str) -> Chart | None:
    info = compute_rungs(study)
    if info is None:
        return None
    drawing = to_svg(draw_rungs(info), f"{anchor}-rungs", "Losses after the last epochs of trials")
    several = len(info.brackets) > 1
    caption = _RUNGS + _LOGARITHMIC * study.objective.is_loss
    return Chart(Markup(drawing), f"Brackets. {caption}" if several else caption)


def _tradeoffs(candidates: Sequence[Candidate], study: Study, anchor: str) -> tuple[Chart, ...]:
    if not candidates:
        return ()
    return tuple(
        Chart(
            Markup(
                to_svg(
                    draw_tradeoff(info),
                    f"{anchor}-tradeoff-{number}",
                    f"{info.y_label} against {info.x_label}, one point per configuration",
                )
            ),
            _worded(caption, study),
        )
        for number, (info, caption) in enumerate(
            zip(
                compute_tradeoffs(candidates, study.reference_name, study.objective),
                _TRADEOFFS,
                strict=True,
            )
        )
    )
