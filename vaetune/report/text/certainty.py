"""How sure the choice of a winner is, in plain text."""

from vaetune.report.text.units import counted, with_error
from vaetune.study import (
    FinalistScore,
    FinalistsRescored,
    FinalistsRetrained,
    Lead,
    Study,
    Trial,
    command,
)


def describe_certainty(study: Study) -> str:
    """Whether the winner's lead is larger than the noise, and than which noise.

    Args:
        study: A search with two finalists or more.
    """
    if study.retrained:
        return _of_seeds(study)
    if study.rescored:
        return _of_samples(study)
    first, second, *_ = study.finalists
    lead = (second.score or 0.0) - (first.score or 0.0)
    amount = "less than 0.01" if f"{lead:.2f}" == "0.00" else f"{lead:.2f}"
    return (
        f"Whether the lead of {amount} nats over the runner-up is larger than the noise is not "
        "assessed: the finalists have not been rescored."
    )


def describe_decision(study: Study, trial: Trial) -> str:
    """What a trial came to when it was judged again, and by the test images."""
    told = {
        "rescored": describe_rescored(study, trial),
        "other seeds": describe_retrained(study, trial),
        "test images": describe_test(study, trial),
    }
    return "\n".join(f"  {key:<15}  {value}" for key, value in told.items() if value)


def describe_rescored(study: Study, trial: Trial) -> str | None:
    """Describes a rescored finalist, and the best one's lead; None if it was not rescored."""
    told = study.rescored.rescoring if study.rescored else None
    score = find_score(study, trial)
    if told is None or score is None:
        return None
    text = f"{with_error(score.negative_elbo)} nats ({count_samples(study)})"
    lead = told.lead
    if lead is None:
        return text
    if lead.winner == trial.trial_id:
        return f"{text}; lead over trial {lead.runner_up}: {_weighed(lead)}"
    return f"{text}; {with_error(score.behind)} behind trial {lead.winner}"


def describe_retrained(study: Study, trial: Trial) -> str | None:
    """What became of a finalist's configuration from other seeds; None if that is not known."""
    told = study.retrained.retraining if study.retrained else None
    own = [one for one in told.finalists if one.trial_id == trial.trial_id] if told else []
    if told is None or not own:
        return None
    losses = [f"{loss:.2f}" if loss is not None else "failed" for loss in own[0].losses]
    seeds = f"{counted(len(told.seeds), 'other seed')}, {counted(told.epochs, 'epoch')}"
    mean = "" if None in own[0].losses else f"{with_error(own[0].mean)} nats, the mean of "
    if trial.epoch_to != told.epochs:
        seeds += f"; trial {trial.trial_id} itself has {trial.epoch_to}"
    text = f"{mean}{', '.join(losses)} ({seeds})"
    lead = told.lead
    if lead and lead.winner == trial.trial_id:
        return f"{text}; lead over trial {lead.runner_up}: {_weighed(lead)}"
    return text


def describe_test(study: Study, trial: Trial) -> str:
    """What the test images said of a trial, or how to ask them."""
    event = study.evaluation(trial)
    if event is None:
        of = [] if trial == study.winner else ["--trial", trial.trial_id]
        return f"not evaluated yet: {command('evaluate', study, *of)}"
    told = event.evaluation
    bound = f"k = {told.protocol.importance_samples:,}"
    return (
        f"{with_error(told.negative_elbo)} nats, the negative ELBO; "
        f"{with_error(told.importance_weighted_bound)}, the bound on the negative log-likelihood "
        f"({bound})"
    )


def find_score(study: Study, trial: Trial) -> FinalistScore | None:
    """How a trial was rescored, if it is a finalist that was."""
    scores = study.rescored.rescoring.finalists if study.rescored else ()
    return next((one for one in scores if one.trial_id == trial.trial_id), None)


def count_samples(study: Study) -> str:
    """What the finalists were rescored on, in a few words; empty if they were not."""
    if study.rescored is None:
        return ""
    told = study.rescored.rescoring
    samples = counted(told.posterior_samples, "posterior sample")
    return f"{samples} of {counted(told.images, 'validation image')}"


def _of_samples(study: Study) -> str:
    told = study.rescored.rescoring if study.rescored else None
    lead = told.lead if told else None
    if told is None or lead is None:
        return "How large the noise is, is not known: no two finalists could be rescored."
    where = f"Rescored with {count_samples(study)}, it leads trial {lead.runner_up} by "
    noise = "two standard errors of that difference over these images and samples"
    if lead.is_sure is None:
        return f"{where}{with_error(lead.nats)} nats; a single image tells no noise."
    verdict = f"more than {noise}" if lead.is_sure else f"inside the noise, less than {noise}"
    return (
        f"{where}{with_error(lead.nats)} nats: {verdict}. "
        "How much another training seed would change is not assessed."
    )


def _of_seeds(study: Study) -> str:
    told = study.retrained.retraining if study.retrained else None
    if told is None:
        return ""
    how = (
        f"Trained from {counted(len(told.seeds), 'other seed')} for "
        f"{counted(told.epochs, 'epoch')} each"
    )
    lead = told.lead
    if lead is None:
        return f"{how}, no two of the finalists' configurations can be compared: trainings failed."
    ahead = f"its configuration leads that of trial {lead.runner_up} by"
    if lead.is_sure is None:
        amount = with_error(lead.nats)
        return f"{how}, {ahead} {amount} nats; of a single seed no noise is known."
    noise = "two standard errors over the seeds"
    verdict = f"more than {noise}" if lead.is_sure else f"inside the noise, less than {noise}"
    return f"{how}, {ahead} {with_error(lead.nats)} nats on average: {verdict}."


def describe_lead(lead: Lead) -> str:
    """Which trial leads which by how much, in a sentence."""
    return f"trial {lead.winner} leads trial {lead.runner_up} by {_weighed(lead)}."


def describe_finalists(event: FinalistsRescored | FinalistsRetrained) -> str:
    """Describes the rescoring or retraining of finalists in a line."""
    if isinstance(event, FinalistsRescored):
        finalists = counted(len(event.rescoring.finalists), "finalist")
        samples = counted(event.rescoring.posterior_samples, "posterior sample")
        done = f"Rescored {finalists} with {samples} of each image, in {event.duration_s:.1f} s"
        lead = event.rescoring.lead
    else:
        finalists = counted(len(event.retraining.finalists), "finalist")
        seeds = counted(len(event.retraining.seeds), "other seed")
        done, lead = f"Trained {finalists} from {seeds} each", event.retraining.lead
    return f"{done}: {describe_lead(lead)}" if lead else f"{done}."


def _weighed(lead: Lead) -> str:
    weight = {True: ", beyond the noise", False: ", inside the noise", None: ", of unknown noise"}
    return f"{with_error(lead.nats)} nats{weight[lead.is_sure]}"
