"""Renders studies as one self-contained HTML page, without a network and without TensorFlow."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vaetune.report import assets
from vaetune.report.charts.comparison import compute_comparison, draw_comparison
from vaetune.report.charts.svg import to_svg
from vaetune.report.sections.section import Chart, build_section
from vaetune.report.sections.tables import SearchGroup, compare_searches, describe_objectives
from vaetune.report.text import units
from vaetune.report.text.units import counted
from vaetune.study import Explanation, Study
from vaetune.version import __version__

GENERATOR = "vaetune"

_COMPARISON = (
    " so far among the completed trials of each search, against its working time. "
    "Breaks between sessions are excluded; the time to train the Keras example is included."
)

_LOGARITHMIC = " The axis of losses above an entropy floor is logarithmic."


def render_report(
    studies: Sequence[Study],
    baselines: Mapping[str, Study | None],
    now: datetime,
    unreadable: Mapping[str, str] | None = None,
    live: bool = False,
    running: Collection[str] = (),
    examples: Mapping[str, Study | None] | None = None,
    explanations: Mapping[str, Explanation | None] | None = None,
) -> str:
    """Renders the page. The same arguments give the same text.

    Args:
        studies: Searches in the order of the page.
        baselines: Run of the Keras example that can be compared with each search, by name of the
            search; see `find_baseline`.
        now: Time at which the page is written.
        unreadable: Reasons why other searches are not on the page, by name.
        live: True if the page will be written repeatedly and should reload itself.
        running: Names of the searches that are known to be running.
        examples: Run of the Keras example that cannot be compared, by name of the search; see
            `find_example`.
        explanations: Path to the winner of each search, by name of the search; see `explain`.
    """
    style, script = assets.read_style(), assets.read_script(live)
    sections = [
        build_section(
            study,
            baselines.get(study.name),
            (examples or {}).get(study.name),
            f"search-{number}",
            now,
            study.name in running,
            (explanations or {}).get(study.name),
        )
        for number, study in enumerate(studies, start=1)
    ]
    groups = compare_searches(studies)
    return (
        _templates()
        .get_template("template.html.j2")
        .render(
            sections=sections,
            groups=groups,
            objectives=describe_objectives(studies),
            comparisons=[
                _draw_group(group, f"comparison-{n}") for n, group in enumerate(groups, start=1)
            ],
            unreadable=unreadable or {},
            generator=f"{GENERATOR} {__version__}",
            now=now,
            live=live,
            style=Markup(style),
            script=Markup(script),
            policy=assets.build_policy(style, script),
        )
    )


def _draw_group(group: SearchGroup, name: str) -> Chart:
    info = compute_comparison(group.studies)
    objective = group.objective
    best = objective.best_heading
    label = f"{best} so far of each search against its working time"
    caption = best.replace("validation ", "") + _COMPARISON + _LOGARITHMIC * objective.is_loss
    more = f" {info.left_out} more with worse winners are not drawn." if info.left_out else ""
    return Chart(Markup(to_svg(draw_comparison(info), name, label)), caption + more)


@cache
def _templates() -> Environment:
    """The page's templates, which are compiled once per process."""
    templates = Environment(
        loader=PackageLoader("vaetune.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=assets.printable_value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        units.nats,
        units.date_time,
        units.time_of_day,
        units.integer,
        counted,
        units.hyperparameter,
        units.duration,
        units.percent,
    )
    templates.filters |= {one.__name__: one for one in filters}
    return templates
