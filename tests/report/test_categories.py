"""Categories and unused hyperparameters in the report, its charts, tables and CSV."""

import csv
import io
import json

import pytest
from stories import NOW, SearchBuilder

from vaetune.config.dimensions import Choice, Range
from vaetune.config.space import Space
from vaetune.config.spec import DataSpec, SearchSpec
from vaetune.report.analysis.importance import compute_importance
from vaetune.report.output import write_report
from vaetune.report.page import render_report
from vaetune.report.sections.page_data import compute_records
from vaetune.report.sections.tables import rank_trials
from vaetune.report.text.search import describe_structures, list_settings
from vaetune.report.text.trials import trials_as_csv, trials_as_json, trials_as_table

SPACE = Space(
    latent_dim=Choice(values=(2, 4)),
    learning_rate=Range(min=1e-4, max=1e-1, scale="log"),
    activation=Choice(values=("gelu", "relu", "elu")),
    decoder=Choice(values=("conv", "dense"), when={"latent_dim": (4,)}),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(2, 4)),
)


def configurations(count=24):
    """Configurations that vary all hyperparameters. Each omits those that it does not use."""
    complete = {name: one.listed()[0] for name, one in SPACE.dimensions()}
    for number in range(count):
        yield SPACE.used(
            {
                **complete,
                "latent_dim": (2, 4)[number % 2],
                "learning_rate": 1e-4 * (1 + 7 * number % 24),
                "activation": ("relu", "gelu")[number // 2 % 2],
                "decoder": ("conv", "dense")[number // 4 % 2],
                "levels": (1, 2)[number // 3 % 2],
                "level_channels": (2, 4)[number // 5 % 2],
            }
        )


def loss_of(values, number):
    return 100.0 - 20 * (values["activation"] == "gelu") + number % 7


@pytest.fixture
def story(tmp_path):
    story = SearchBuilder(tmp_path / "kinds", spec=SearchSpec(space=SPACE))
    for number, values in enumerate(configurations()):
        story.trial(f"{number:04d}", [loss_of(values, number)], hyperparameters=values)
    return story


@pytest.fixture
def study(story):
    return story.study()


def column(study, key):
    return next(one for one in compute_records(study, None).columns if one.key == key)


def test_a_category_has_an_axis_with_its_values_as_labels(study):
    found = column(study, "activation")
    assert (found.labels, found.scale, found.differs) == (("relu", "gelu"), "choice", True)
    assert set(found.values) == {0, 1}
    assert [found.labels[value] for value in found.values] == [
        trial.hyperparameters["activation"] for trial in study.trials
    ]
    assert column(study, "latent_dim").labels == ()


def test_a_trial_has_no_value_for_a_hyperparameter_that_it_does_not_use(study):
    found = column(study, "level_channels")
    used = ["level_channels" in trial.hyperparameters for trial in study.trials]
    assert [value is not None for value in found.values] == used
    assert len(set(used)) == 2
    assert json.loads(json.dumps(found.values)) == list(found.values)


def test_a_hyperparameter_that_some_trials_lack_needs_two_values_to_differ(tmp_path):
    space = SPACE.model_copy(update={"level_channels": None})
    story = SearchBuilder(tmp_path / "one", spec=SearchSpec(space=space))
    for number, levels in enumerate((1, 2)):
        values = {"latent_dim": 2, "learning_rate": 1e-3, "activation": "relu", "levels": levels}
        values |= {"level_channels": 2} if levels == 2 else {}
        story.trial(f"{number:04d}", [9.0], hyperparameters=values)
    assert not column(story.study(), "level_channels").differs
    assert column(story.study(), "levels").differs
    assert not column(story.study(), "activation").differs


def test_tables_mark_unused_hyperparameters(study):
    board = rank_trials(study)
    titles = [one.title for one in board.columns]
    for line in board.lines:
        for name in ("activation", "decoder", "level_channels"):
            cell = line.cells[titles.index(name)]
            value = line.trial.hyperparameters.get(name)
            assert cell.text == ("not used" if value is None else str(value))
            assert cell.number == (value if isinstance(value, int) else None)
    kinds = {one.title: one.numeric for one in board.columns}
    assert not kinds["activation"]
    assert kinds["level_channels"]


def test_an_unused_hyperparameter_is_empty_in_csv_and_absent_in_json(study):
    rows = list(csv.DictReader(io.StringIO(trials_as_csv(study))))
    for row, trial in zip(rows, study.trials, strict=True):
        assert row["activation"] == trial.hyperparameters["activation"]
        assert row["decoder"] == trial.hyperparameters.get("decoder", "")
        assert row["level_channels"] == str(trial.hyperparameters.get("level_channels", ""))
    found = [row["hyperparameters"] for row in json.loads(trials_as_json(study))]
    assert found == [trial.hyperparameters for trial in study.trials]


def test_lines_name_the_searched_hyperparameters_that_a_trial_uses(study):
    _, first, second, *_ = trials_as_table(study).splitlines()
    assert first.endswith("latent 2, rate 0.0001, relu, levels 1")
    assert second.endswith("latent 4, rate 0.0008, relu, conv decoder, levels 1")


def test_the_importance_of_a_hyperparameter_compares_only_trials_that_use_it(study):
    found = compute_importance(study)
    users = dict(zip(dict(found.shares), found.users, strict=True))
    for name, count in users.items():
        assert count == sum(name in trial.hyperparameters for trial in study.trials)
    assert users["activation"] == 24
    assert (users["decoder"], users["level_channels"]) == (12, 8)
    assert dict(found.shares)["activation"] > dict(found.shares)["decoder"]
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    page = " ".join(render_report([study], {}, NOW).split())
    assert "computed among those that use it" in page
    assert 'decoder <span class="note">(among the 12 that use it)</span>' in page


def test_a_rarely_used_hyperparameter_has_no_importance_and_is_named(tmp_path):
    story = SearchBuilder(tmp_path / "few", spec=SearchSpec(space=SPACE))
    for number, values in enumerate(configurations()):
        values = dict(values)
        if number > 9:
            values.pop("level_channels", None)
        story.trial(f"{number:04d}", [loss_of(values, number)], hyperparameters=values)
    found = compute_importance(story.study())
    assert "level_channels" not in dict(found.shares)
    assert found.left_out == ("level_channels",)
    assert "Too few configurations use level_channels." in render_report([story.study()], {}, NOW)


def test_settings_show_the_conditions():
    shown = dict(list_settings(SearchSpec(space=SPACE)))
    assert shown["space.decoder"] == "conv, dense, only where latent_dim is 4"
    assert shown["space.activation"] == "gelu, relu, elu"


def test_settings_show_a_size_and_the_channels_of_pictures():
    data = DataSpec(image_size=(64, 48), show=(3, 1))
    shown = dict(list_settings(SearchSpec(data=data)))
    assert (shown["data.image_size"], shown["data.show"]) == ("64 x 48", "3, 1")


def test_the_possible_structures_of_a_search_are_counted(study):
    spec = SearchSpec(space=SPACE)
    assert SPACE.structures() == 3 * (2 + 1)
    plan = study.plan
    text = "Model structures: at most {}, each with a computation graph of its own."
    assert describe_structures(spec, plan) == text.format(3), "the plan has three configurations"
    many = (plan[0].model_copy(update={"trials": 40}),)
    assert describe_structures(spec, many) == text.format(9)
    assert describe_structures(SearchSpec(), many) == ""


@pytest.mark.browser
def test_charts_show_categories_and_unused_hyperparameters(chromium, story):
    story.write()
    page = chromium.new_page(viewport={"width": 390, "height": 900})
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(write_report(story.folder.parent).as_uri())
    plot = page.locator("[data-view=parallel] svg.plot")
    plot.scroll_into_view_if_needed()
    ticks = plot.locator("text.tick").all_text_contents()
    assert {"relu", "gelu", "conv", "dense", "not used"} <= set(ticks)
    assert ticks.count("not used") == 3
    # All trials have the same number of epochs, and none continues another.
    view = page.locator("[data-view=parallel]")
    assert "numbers of epochs" not in view.locator("figcaption").inner_text()
    assert view.locator(".legend").inner_text().split("\n") == ["best seventh", "worst seventh"]
    assert "continues" not in page.locator("article").inner_text()
    plot.focus()
    page.keyboard.press("ArrowRight")
    value_text = plot.get_attribute("aria-valuetext")
    assert "level_channels not used" in value_text
    assert "activation gelu" in value_text
    pairs = page.locator("[data-view=contour] option").all_text_contents()
    assert "latent_dim and learning_rate" in pairs
    assert not any("activation" in pair for pair in pairs)
    page.locator("details.filters summary").click()
    page.get_by_label("activation", exact=True).select_option(label="gelu")
    assert page.locator("output").inner_text() == "12 of 24 trials"
    assert troubles == []
    page.close()
