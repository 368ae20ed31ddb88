"""The tables of a race."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from markdown_tables import markdown_table
from race_clock import LIMIT_S, SCHEDULE_EPOCHS, RaceRun

FREEZE_THAW, HYPERBAND = "freeze-thaw", "hyperband"

TITLES = {
    FREEZE_THAW: "freeze-thaw (vaetune)",
    HYPERBAND: "Hyperband (vaetune)",
    "control": "control: cheap ones, one epoch, three to the end (vaetune)",
    "keras-tuner": "Hyperband (Keras Tuner), vaetune's hypermodel",
    "optuna-median": "multivariate TPE, MedianPruner (Optuna), vaetune's hypermodel",
    "optuna-hyperband": "TPE, HyperbandPruner (Optuna), vaetune's hypermodel",
    "ray": "ASHA (Ray Tune), vaetune's hypermodel",
    "keras-tuner-example": "Hyperband (Keras Tuner), the Keras example's network",
    "optuna-median-example": "multivariate TPE, MedianPruner (Optuna), the Keras example's network",
    "optuna-hyperband-example": "TPE, HyperbandPruner (Optuna), the Keras example's network",
    "ray-example": "ASHA (Ray Tune), the Keras example's network",
    "expert": "three guesses, with what vaetune's default space has fixed",
    "expert-example": "three guesses, the Keras example's network",
}

EXPERTS = ("expert", "expert-example")

COVERAGE = 0.95
"""Minimum probability that an interval contains the median."""

Runs = Mapping[int, RaceRun]
"""Runs of one contender on one image set, by seed."""


def race_text(runs: Sequence[RaceRun]) -> str:
    """Returns the tables of all image sets."""
    names = list(dict.fromkeys(run.images for run in runs))
    parts = [part for name in names for part in _parts(name, by_contender(runs, name))]
    return "\n\n".join(parts) or "Not run yet."


def by_contender(runs: Sequence[RaceRun], images: str) -> dict[str, Runs]:
    """Returns the runs on an image set by contender and seed."""
    found: dict[str, dict[int, RaceRun]] = {name: {} for name in TITLES}
    for run in runs:
        if run.images == images:
            found[run.contender][run.seed] = run
    return {name: dict(sorted(seeds.items())) for name, seeds in found.items() if seeds}


def _parts(images: str, found: Mapping[str, Runs]) -> Iterator[str]:
    if not {FREEZE_THAW, HYPERBAND} <= found.keys():
        return
    hyperband = found[HYPERBAND].values()
    after_limit = statistics.median(run.best(LIMIT_S) for run in hyperband)
    after_schedule = statistics.median(run.best_of(SCHEDULE_EPOCHS) for run in hyperband)
    yield (
        f"On {images}, Hyperband's median lowest loss is {after_limit:.2f} nats after "
        f"{LIMIT_S:.0f} s and {after_schedule:.2f} nats after {SCHEDULE_EPOCHS} epochs. "
        f"Freeze-thaw's seconds to {after_limit:.2f} nats:"
    )
    yield _times_table(found, after_limit)
    row = _share_row(HYPERBAND, found[FREEZE_THAW], found[HYPERBAND], after_schedule, math.inf)
    yield (
        f"To {after_schedule:.2f} nats, both going on as long as needed for {SCHEDULE_EPOCHS} "
        f"epochs, freeze-thaw takes {row[2]} of Hyperband's seconds ({row[1]} seeds, interval "
        f"{row[3]}, p {row[4]})."
    )
    yield f"Lowest losses after {LIMIT_S:.0f} s:"
    yield _losses_table(found)
    yield from _expert_sentences(found)


def _times_table(found: Mapping[str, Runs], level: float) -> str:
    heads = ("rival", "seeds", "share of its seconds", "interval", "p", "level reached by")
    rows = [
        _share_row(name, found[FREEZE_THAW], runs, level, LIMIT_S)
        for name, runs in found.items()
        if name not in (FREEZE_THAW, *EXPERTS)
    ]
    return markdown_table(heads, rows)


def _share_row(
    name: str, ours: Runs, theirs: Runs, level: float, limit_s: float
) -> tuple[str, ...]:
    """Returns the row of a rival.

    Args:
        name: Name of the rival.
        ours: Runs of freeze-thaw.
        theirs: Runs of the rival.
        level: Validation loss to reach, nats per image.
        limit_s: Seconds after which losses do not count.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return (TITLES[name], "0", "", "", "", "")
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    shares = [share(one, other, level, limit_s) for one, other in pairs]
    middle, low, high = median_interval(shares)
    reached = [[_reaches(run, level, limit_s) for run in pair] for pair in pairs]
    ours_reached, theirs_reached = (sum(column) for column in zip(*reached, strict=True))
    # If only the rival misses the level, its time is underestimated, so the share is an upper
    # bound. If freeze-thaw misses the level, its time is underestimated, so the share is no bound.
    is_bound = theirs_reached < ours_reached == len(seeds)
    return (
        TITLES[name],
        str(len(seeds)),
        f"{'at most ' * is_bound}{middle:.2f}",
        f"{low:.2f} to {high:.2f}",
        _p_text(signed_rank([math.log(one) for one in shares])),
        f"freeze-thaw {ours_reached}, rival {theirs_reached}",
    )


def share(ours: RaceRun, theirs: RaceRun, level: float, limit_s: float) -> float:
    """Returns one run's seconds to a level as a share of another run's seconds.

    Args:
        ours: The run in the numerator.
        theirs: The run in the denominator.
        level: Validation loss to reach, nats per image.
        limit_s: Seconds after which losses do not count. A run that does not reach the level counts
            with this limit, or with all of its seconds if the limit is infinite.
    """
    ours_s, theirs_s = (_seconds(run, level, limit_s) for run in (ours, theirs))
    return ours_s / theirs_s


def _seconds(run: RaceRun, level: float, limit_s: float) -> float:
    full_s = run.epochs[-1][0] if math.isinf(limit_s) else limit_s
    reached_s = run.seconds_to(level)
    return full_s if reached_s is None else min(reached_s, full_s)


def _reaches(run: RaceRun, level: float, limit_s: float) -> bool:
    return run.best(limit_s) <= level


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median, and the lower and upper end of its interval by the sign test.

    Few values have no such interval; then the ends are the lowest and the highest value.
    """
    from scipy.stats import binom

    ordered = sorted(values)
    count = len(ordered)
    left_out = int(binom.ppf((1 - COVERAGE) / 2, count, 0.5))
    while left_out > 0 and binom.cdf(left_out, count, 0.5) > (1 - COVERAGE) / 2:
        left_out -= 1
    return statistics.median(ordered), ordered[left_out], ordered[count - 1 - left_out]


def signed_rank(differences: Sequence[float]) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test, two-sided; 1 if nothing differs."""
    from scipy.stats import wilcoxon

    nonzero = [one for one in differences if one]
    return float(wilcoxon(nonzero).pvalue) if nonzero else 1.0


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _losses_table(found: Mapping[str, Runs]) -> str:
    heads = ("search", "seeds", "lowest loss, nats", "above freeze-thaw", "interval", "p", "epochs")
    return markdown_table(heads, [_loss_row(name, found) for name in found])


def _loss_row(name: str, found: Mapping[str, Runs]) -> tuple[str, ...]:
    runs, ours = found[name], found[FREEZE_THAW]
    losses = [run.best(LIMIT_S) for run in runs.values()]
    epochs = [sum(at <= LIMIT_S for at, _ in run.epochs) for run in runs.values()]
    compared = ["", "", ""]
    above = [runs[seed].best(LIMIT_S) - ours[seed].best(LIMIT_S) for seed in runs.keys() & ours]
    if name != FREEZE_THAW and above:
        middle, low, high = median_interval(above)
        p = signed_rank(above)
        compared = [f"{middle:+.2f}", f"{low:+.2f} to {high:+.2f}", _p_text(p)]
    spread = f" ({min(losses):.2f} to {max(losses):.2f})" if losses[1:] else ""
    return (
        TITLES[name],
        str(len(losses)),
        f"{statistics.median(losses):.2f}{spread}",
        *compared,
        f"{statistics.median(epochs):.0f}",
    )


def _expert_sentences(found: Mapping[str, Runs]) -> Iterator[str]:
    """Yields comparisons of searches with an expert, when the last guess has ended."""
    for name in EXPERTS:
        if name not in found:
            continue
        sentences = [
            _against_expert(TITLES[rival], found[name], found[rival])
            for rival in (FREEZE_THAW, HYPERBAND)
        ]
        ends = [_end_of(run) for run in found[name].values()]
        yield (
            f"The expert ({TITLES[name]}) is done after {statistics.median(ends):.0f} s (median). "
            f"At that time {' and '.join(sentences)}."
        )


def _against_expert(title: str, expert: Runs, search: Runs) -> str:
    seeds = expert.keys() & search.keys()
    ends_s = {seed: _end_of(expert[seed]) for seed in seeds}
    differences = [
        search[seed].best(at_s) - expert[seed].best(at_s) for seed, at_s in ends_s.items()
    ]
    lower = sum(one < 0 for one in differences)
    return (
        f"{title} has a lower loss with {lower} of {len(seeds)} seeds "
        f"({statistics.median(differences):+.2f} nats, median)"
    )


def _end_of(run: RaceRun) -> float:
    """Returns the seconds until a run ended by itself, or until the time limit."""
    return LIMIT_S if run.ended_s is None else min(run.ended_s, LIMIT_S)
