"""`vaetune train`: train one configuration outside a search."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import advise_if_moved, clean_interrupt, fail, find_named, say
from vaetune.cli.groups import flags_of, model_option
from vaetune.cli.options import (
    BaselineOutputOptions,
    ScheduleOptions,
    TrainingOptions,
    TrialId,
)
from vaetune.cli.search import announce, progress_of
from vaetune.errors import SpecError

if TYPE_CHECKING:
    from vaetune.config import ResolvedSearch, Value
    from vaetune.study import Study


@dataclass(frozen=True)
class ConfigurationOptions:
    """The hyperparameters of one configuration; fields have the hyperparameters' names."""

    filters_1: Annotated[
        int | None, model_option(help="Number of filters of the first convolution.")
    ] = None
    filters_2: Annotated[
        int | None, model_option(help="Number of filters of the second convolution.")
    ] = None
    dense_units: Annotated[
        int | None, model_option(help="Number of units of the encoder's dense layer.")
    ] = None
    latent_dim: Annotated[
        int | None,
        model_option(help="Number of latent dimensions; with --best, of the trial to train."),
    ] = None
    learning_rate: Annotated[
        float | None, model_option(help="Learning rate of the Adam optimizer.")
    ] = None
    beta: Annotated[float | None, model_option(help="Weight of the KL divergence.")] = None
    set_: Annotated[
        list[str] | None,
        model_option(
            "--set",
            metavar="NAME=VALUE",
            help="Value of any hyperparameter of a search file; may be given several times.",
        ),
    ] = None


def train(
    *,
    best: Annotated[
        str | None,
        model_option(metavar="NAME", help="Name of the search that provides the configuration."),
    ] = None,
    trial: TrialId = None,
    configuration: ConfigurationOptions,
    schedule: ScheduleOptions,
    training: TrainingOptions,
    output: BaselineOutputOptions,
) -> None:
    """Train one configuration from scratch, outside any search.

    With --best, this is the winner of a search, on its images and with its settings; without it,
    the Keras example. Options change single values, --set those of any hyperparameter. With --on
    train+validation, one image in twenty is held out to choose the epoch. The result is in
    results/baselines/.
    """
    if best is None and trial is not None:
        raise typer.BadParameter("--trial goes with --best, which names its search")
    flags = flags_of(schedule, training)
    with clean_interrupt():
        if best is None:
            from vaetune.config import resolve_single

            own = _given(configuration)
            named = _flag_names(configuration)
            run_baseline(resolve_single(own, flags, name_override=named), output)
        else:
            train_best(best, trial, configuration, flags, output)


SET = "--set"


def _given(configuration: ConfigurationOptions) -> "dict[str, Value]":
    """Returns the hyperparameters that were given as options.

    Raises:
        SpecError: A value of --set is wrong, or repeats another option.
    """
    from vaetune.config import parse_settings

    own = {name: value for name, value in asdict(configuration).items() if value is not None}
    settings = parse_settings(own.pop("set_", ()), SET)
    for name in own.keys() & settings.keys():
        raise SpecError(
            f"--{name.replace('_', '-')} and {SET} {name} give the same hyperparameter. Remove one "
            "of them."
        )
    return own | settings


def _flag_names(configuration: ConfigurationOptions) -> Callable[[str], str]:
    """Returns a function that names the option of a key of the search file in errors."""
    from vaetune.config import flag_name

    def name_flag(key: str) -> str:
        table, _, name = key.rpartition(".")
        is_set = table == "space" and getattr(configuration, name, None) is None
        return f"{SET} {name}" if is_set else flag_name(key)

    return name_flag


def train_best(
    search_name: str,
    trial_id: str | None,
    configuration: ConfigurationOptions,
    flags: Mapping[str, object],
    output: BaselineOutputOptions,
) -> None:
    """Trains the winner of a search, or another of its trials, from scratch.

    Args:
        search_name: Name of the search.
        trial_id: Id of the trial; None for the winner.
        configuration: Hyperparameters that replace the trial's. `latent_dim` does not replace
            anything: it selects the best trial of that size.
        flags: Settings that replace those of the search, by key of the search file.
        output: Folder of the result, and how much is printed.
    """
    from vaetune.config import resolve_single
    from vaetune.study import pick

    study = find_named(output.results, search_name)
    latent_dim = configuration.latent_dim
    if trial_id is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial_id, latent_dim)
    changed = replace(configuration, latent_dim=None)
    resolved = resolve_single(
        _given(changed), flags, picked.hyperparameters, study.search, _flag_names(changed)
    )
    spec = resolved.spec
    description = f"Trial {picked.trial_id} of {study.name}, trained from scratch"
    spec = spec.model_copy(update={"description": description})
    resolved = replace(resolved, name=f"{study.name}-trial-{picked.trial_id}", spec=spec)
    run_baseline(resolved, output, of=study)


def run_baseline(
    resolved: "ResolvedSearch", output: BaselineOutputOptions, of: "Study | None" = None
) -> None:
    """Trains one configuration and prints the result.

    Args:
        resolved: The experiment, with one configuration.
        output: Folder of the result, and how much is printed.
        of: Study that found the configuration; its images must be the same.
    """
    from vaetune.cli.console import describe_device
    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.report import describe_winner
    from vaetune.study import command

    single = resolved.spec
    with advise_if_moved(resolved.origins.get("data.dataset") == "flag"):
        images = load_images(single.data.dataset, single.data, say)
    device = choose_device(single.device)
    from vaetune.evaluation import check_images
    from vaetune.search import open_baseline, run_session

    if of is not None:
        check_images(of, prepare_images(images, of.search.data))
    images = prepare_images(images, single.data)
    with open_baseline(
        single,
        images,
        device,
        output.results,
        name=output.name,
        stem=resolved.name or None,
        overwrite=output.overwrite,
    ) as session:
        announce(session, resolved, describe_device(device), output.quiet)
        with progress_of(session, output.quiet) as watcher:
            study = run_session(session, watcher)
    if study.winner is None:
        fail(f"The training failed: {study.trials[0].error}")
    say(f"Trained {study.name}, in {study.folder}/")
    say(describe_winner(study, study.winner, None))
    say(f"Next: {command('evaluate', study)}")
