"""Studies that are built event by event, and their reports."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np

from vaetune.config.names import BASELINES
from vaetune.config.space import REFERENCE
from vaetune.config.spec import SearchSpec, single_configuration
from vaetune.report.page import render_report
from vaetune.study.artifacts import Artifacts, ProbeImages
from vaetune.study.builder import build_study, load_study
from vaetune.study.events import (
    EpochEnded,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    TrialEnded,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.journal import JOURNAL_NAME, Journal
from vaetune.study.records import DataSummary, Environment, Rung

START = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
NOW = START + timedelta(hours=1)
DATA = DataSummary(
    name="digits",
    source="digits",
    fingerprint="ab" * 32,
    image_shape=(8, 8, 1),
    train_images=40,
    validation_images=12,
    test_images=10,
    class_names=("zero", "one", "two"),
    entropy_floor=45.5,
)
PLAN = (
    Rung(bracket=1, rung=0, trials=3, epoch_from=0, epoch_to=1),
    Rung(bracket=1, rung=1, trials=1, epoch_from=1, epoch_to=3),
)
ENVIRONMENT = Environment(
    python="3.11.2",
    platform="Linux",
    cpu="a processor",
    cores=2,
    threads=2,
    device="CPU",
    versions={"keras": "3.15.1", "tensorflow": "2.21.0"},
    revision="f" * 40,
    command=("vaetune", "search", "tiny"),
)
VALUES = {
    "filters_1": 16,
    "filters_2": 64,
    "dense_units": 32,
    "latent_dim": 4,
    "learning_rate": 0.00212345,
}
REFERENCE_LOSSES = (220.0, 190.0, 177.25)


class SearchBuilder:
    """Builds the events of a search. Each epoch takes a minute."""

    def __init__(self, folder, *, name=None, kind="search", spec=None, data=DATA, start=START):
        self.folder = folder
        self.time = start
        self.events = [
            SearchStarted(
                time=start,
                kind=kind,
                name=name or folder.name,
                search=spec or SearchSpec(),
                origins={"seed": "flag", "budget.factor": "file", "space.latent_dim": "default"},
                data=data,
                plan=PLAN,
            )
        ]
        self.session()

    def session(self, environment=ENVIRONMENT, after_s=0.0):
        self.time += timedelta(seconds=after_s)
        self.events.append(SessionStarted(time=self.time, environment=environment))
        return self

    def trial(self, trial_id, losses, *, configuration=None, parent=None, epoch_from=0, **options):
        number = int(trial_id) if configuration is None else configuration
        values = options.pop("hyperparameters", {**VALUES, "dense_units": 16 * (number + 1)})
        self.events.append(
            TrialStarted(
                time=self.time,
                trial_id=trial_id,
                configuration=number,
                parent=parent,
                bracket=1,
                rung=0 if parent is None else 1,
                epoch_from=epoch_from,
                epoch_to=epoch_from + max(1, len(losses)),
                hyperparameters=values,
            )
        )
        for epoch, loss in enumerate(losses, start=epoch_from + 1):
            self.time += timedelta(minutes=1)
            self.events.append(
                EpochEnded(
                    time=self.time,
                    trial_id=trial_id,
                    epoch=epoch,
                    loss=loss,
                    reconstruction_loss=loss - 6.0,
                    kl_loss=6.0,
                    val_loss=loss,
                    val_reconstruction_loss=loss - 6.0,
                    val_kl_loss=6.0,
                    train_s=58.0,
                    validation_s=2.0,
                )
            )
        if not options.get("unfinished"):
            self.events.append(
                TrialEnded(
                    time=self.time,
                    trial_id=trial_id,
                    status="failed" if "error" in options else "completed",
                    parameters=134165 + number,
                    duration_s=60.0 * len(losses),
                    error=options.get("error"),
                    traceback=options.get("traceback"),
                    active_units=options.get("active_units"),
                    val_kl_loss=options.get("val_kl_loss"),
                    collapsed=options.get("collapsed"),
                )
            )
        return self

    def end(self, reason="completed", message=None):
        self.events.append(SessionEnded(time=self.time, reason=reason, message=message))
        return self

    def study(self):
        return build_study(self.events, self.folder)

    def write(self):
        """Writes the journal, and artifacts like those of a search; returns the study."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with Journal(self.folder / JOURNAL_NAME) as journal:
            for event in self.events:
                journal.append(event)
        labels = np.arange(12) % 3
        ProbeImages(np.full((4, 8, 8, 1), 90, np.uint8), labels).save(self.folder)
        study = self.study()
        for trial in study.trials:
            latent_dim = int(trial.hyperparameters.get("latent_dim", 2))
            make_pictures(latent_dim).save(study.trial_folder(trial.trial_id))
        return load_study(self.folder)


def make_pictures(latent_dim):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 8, 8, 1)).astype(np.uint8)
    z_mean = rng.normal(size=(12, latent_dim)).astype(np.float32)
    manifold = rng.integers(0, 255, (3, 3, 8, 8, 1)).astype(np.uint8) if latent_dim == 2 else None
    return Artifacts(images, images, z_mean, manifold)


def make_finished_search(folder, **options):
    """Three configurations train one epoch; the best one is promoted to three."""
    return (
        SearchBuilder(folder, **options)
        .trial("0000", [212.5])
        .trial("0001", [201.0])
        .trial("0002", [230.0])
        .trial("0003", [150.0, 131.25], configuration=1, parent="0001", epoch_from=1)
        .end()
    )


def make_keras_example(results, losses=REFERENCE_LOSSES):
    spec = single_configuration(REFERENCE, 9, like=SearchSpec())
    folder = results / BASELINES / "reference-digits-9"
    story = SearchBuilder(folder, kind="baseline", spec=spec)
    return story.trial("0000", losses, hyperparameters=dict(REFERENCE)).end()


def page_of(*stories, baseline=None):
    studies = [story.study() for story in stories]
    baseline_study = baseline.study() if baseline else None
    return render_report(studies, {study.name: baseline_study for study in studies}, NOW)


class ParsedPage(HTMLParser):
    """The elements, attributes and visible text of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.drawn = set()
        self.text = []
        self.is_in_svg = False
        self.is_unseen = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if self.is_in_svg:
            # The number of ticks in a chart depends on the width of its names. So only the kinds of
            # elements and attributes are kept.
            self.drawn |= {tag, *(name for name, _ in attrs)}
        else:
            self.elements.append((tag, dict(attrs)))
        self.is_in_svg |= tag == "svg"
        self.is_unseen = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.is_in_svg &= tag != "svg"
        self.is_unseen &= tag not in ("script", "style")

    def handle_data(self, data):
        if not self.is_unseen:
            self.text.append(data)

    @property
    def words(self):
        """The visible text on one line, with plain dashes."""
        words = " ".join(" ".join(self.text).split())
        return words.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-")

    @property
    def structure(self):
        return [(tag, sorted(attrs)) for tag, attrs in self.elements if tag != "wbr"]

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]

    def texts_of(self, tag, page):
        found = re.findall(rf"<{tag}[ >].*?</{tag}>", page, flags=re.DOTALL)
        return [ParsedPage(part).words for part in found]


def words_of(page):
    return ParsedPage(page).words


# Parts of a report


def headline_of(page):
    return ParsedPage(page).texts_of("h2", page)[0]


def report_text_of(builder):
    study = builder.study()
    return words_of(render_report([study], {study.name: None}, NOW))


def leaderboard_of(page):
    table = re.search(r'<table class="sortable">.*?</table>', page, flags=re.DOTALL)[0]
    return ParsedPage(table).texts_of("tr", table)


def make_search_with_markup(folder, text):
    """A search in which every free text of the journal is `text`."""
    story = SearchBuilder(
        folder,
        name=text,
        spec=SearchSpec(description=text),
        data=DATA.model_copy(update={"name": text, "source": text, "class_names": (text,) * 3}),
    )
    story.events[0] = story.events[0].model_copy(update={"origins": {text: "file", "seed": "flag"}})
    own = Environment(
        **{**ENVIRONMENT.model_dump(), **dict.fromkeys(("python", "cpu", "device"), text)}
        | {"platform": text, "revision": text, "versions": {text: text}, "command": (text, text)}
    )
    story.session(own)
    joined = {"host": text, "environment": own}
    story.events += [
        WorkerJoined(time=story.time, worker=1, **joined),
        WorkerLost(time=story.time, worker=1, trial_id=None, error=text),
    ]
    story.trial("0000", [200.0], hyperparameters={**VALUES, text: 1})
    story.trial("0001", [], error=text, traceback=text)
    story.end("error", message=text)
    return story
