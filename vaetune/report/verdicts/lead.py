"""Verdict about the lead of the winner: whether it is larger than the noise."""

from vaetune.report.text.units import counted, plus_minus_of
from vaetune.report.verdicts.training import average_fall
from vaetune.report.verdicts.verdict import Verdict, write_lines
from vaetune.study import Lead, Study, continue_command

SEEDS = 3
"""Number of further seeds that the advice names."""

_TITLE = "A close decision"


def judge_lead(study: Study) -> Verdict | None:
    """Says whether the lead of the winner over the second is inside the noise.

    If the finalists were not trained from other seeds, their noise is unknown. A lead is then
    called small if it is smaller than the change of the winner's loss in its last two epochs.

    Args:
        study: A complete search.
    """
    if study.retrained:
        return _judge_seeds(study, study.retrained.retraining.lead)
    lead = study.rescored.rescoring.lead if study.rescored else None
    winner = study.winner
    if lead is None or winner is None or winner.collapsed:
        return None
    measure = lead.measure
    is_followed = measure == study.objective  # Otherwise its epochs were not measured by it.
    costs = [measure.cost(one.value) for one in study.curve(winner)] if is_followed else []
    recent = costs[-3:]
    change = recent[0] - recent[-1] if average_fall(costs) is not None else 0.0
    ahead = f"The winner is {_distance(lead)} ahead of trial {lead.runner_up}"
    if lead.is_sure is False:
        noise = "posterior samples" if measure.is_loss else "validation images"
        seen = f"{ahead}, which is inside the noise of {noise}."
    elif lead.difference.mean < change:
        epochs = "last two epochs" if len(recent) > 2 else "last epoch"
        own = "loss fell" if measure.is_loss else f"{measure.title} rose"
        seen = (
            f"{ahead}, less than its own {own} in the {epochs} ({measure.digits(change)}); the "
            "noise of seeds was not measured."
        )
    else:
        return None
    return Verdict("lead", _TITLE, seen, _advise(study), _with_seeds(study, SEEDS))


def _distance(lead: Lead) -> str:
    return plus_minus_of(lead.measure, lead.difference, is_difference=True)


def _judge_seeds(study: Study, lead: Lead | None) -> Verdict | None:
    if lead is None or lead.is_sure or study.retrained is None:
        return None
    seeds = len(study.retrained.retraining.seeds)
    ahead = (
        f"Over {counted(seeds, 'other seed')}, the winner's configuration is "
        f"{_distance(lead)} ahead of that of trial {lead.runner_up}"
    )
    if lead.is_sure is None:
        seen = f"{ahead}, but one seed does not show the noise."
        return Verdict("lead", _TITLE, seen, _advise(study), _with_seeds(study, SEEDS))
    seen = f"{ahead}, which is inside the noise of seeds."
    advice = "Choose the smaller or faster of the two, or train them from more seeds."
    return Verdict("lead", _TITLE, seen, advice, _with_seeds(study, 2 * seeds))


def _advise(study: Study) -> str:
    advice = f"Train the finalists from {SEEDS} other seeds before one wins"
    if not study.names_images:
        return f"{advice}: the same search continues."
    again = continue_command(study, "--final-seeds", str(SEEDS))
    return f"{advice}: `{again}` continues this search."


def _with_seeds(study: Study, seeds: int) -> str:
    return write_lines(study, {"limits.final_seeds": seeds})
