"""Studies -> one HTML page that needs nothing else: no file, no network, no TensorFlow."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vaetune.report import assets
from vaetune.report.charts.comparison import compute_race, draw_race
from vaetune.report.charts.svg import to_svg
from vaetune.report.sections.section import Chart, build_section
from vaetune.report.sections.side_by_side import ROLE_NAMES
from vaetune.report.sections.tables import Contest, compare_searches
from vaetune.report.text import units
from vaetune.report.text.units import counted
from vaetune.study import Study
from vaetune.version import __version__

GENERATOR = "vaetune"

_RACE = (
    "Best so far, among completed trials, of each search against its working time: breaks between "
    "sessions are left out; training the Keras example counts. The loss axis is logarithmic."
)


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
        now: Time at which the page is written.
        unreadable: Reasons why other searches are missing, by name.
        live: Whether the page is written again and again: it then reloads itself.
        running: The names of those that are known to be under way.
    """
    style, script = assets.read_style(), assets.read_script(live)
    sections = [
        build_section(
            study, baselines.get(study.name), f"search-{number}", now, study.name in running
        )
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
        finalize=assets.printable_value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (
        units.nats,
        units.instant,
        units.clock,
        units.whole,
        counted,
        units.hyperparameter,
        units.duration,
        units.percent,
    )
    templates.filters |= {word.__name__: word for word in words}
    return templates
