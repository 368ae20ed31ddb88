"""Describes how certain the choice of a winner is."""

from vaetune.report.text.units import amount, counted, with_error
from vaetune.study import (
    FinalistScore,
    FinalistsRescored,
    FinalistsRetrained,
    Lead,
    Study,
    Trial,
    evaluate_command,
    winner_by_loss,
)


def describe_certainty(study: Study) -> str:
    """Says whether the winner's lead is larger than the noise, and which noise is meant.

    Args:
        study: Search with at least two finalists.
    """
    if study.retrained:
        return _compare_with_seeds(study)
    if study.rescored:
        return _compare_with_samples(study)
    first, second, *_ = study.finalists
    objective = study.objective
    lead = objective.lead(first.score or 0.0, second.score or 0.0)
    is_tiny = objective.digits(lead) == objective.digits(0.0) and objective.is_loss
    distance = "less than 0.01 nats" if is_tiny else objective.difference(lead)
    return (
        f"The winner leads the runner-up by {distance}. The finalists have not been rescored, "
        "so this lead may be noise."
    )


def describe_decision(study: Study, trial: Trial) -> str:
    """The results of rescoring, retraining and the test images for a trial, one per line."""
    results = {
        "winner by loss": describe_winner_by_loss(study) if trial == study.winner else None,
        "rescored": describe_rescored(study, trial),
        "other seeds": describe_retrained(study, trial),
        "test images": describe_test(study, trial),
    }
    return "\n".join(f"  {key:<15}  {value}" for key, value in results.items() if value)


def describe_winner_by_loss(study: Study) -> str | None:
    """The trial that the validation loss would choose; None if the loss has chosen the winner."""
    trial = winner_by_loss(study)
    if trial is None or trial.lowest_loss is None:
        return None
    if trial == study.winner:
        return "the same trial"
    measure, score = study.measure, find_score(study, trial)
    use = score.use.mean if score and score.use else None
    if use is None and measure == trial.objective:
        use = trial.score
    known = "" if use is None else f", {measure.title} {measure.number(use)}"
    return f"trial {trial.trial_id}, {trial.lowest_loss:.2f} nats per image{known}"


def describe_rescored(study: Study, trial: Trial) -> str | None:
    """The rescored loss of a finalist and its distance to the best or the second best one.

    Returns:
        None if the trial was not rescored.
    """
    rescoring = study.rescored.rescoring if study.rescored else None
    score = find_score(study, trial)
    if rescoring is None or score is None:
        return None
    text = f"{with_error(score.negative_elbo)} nats ({count_samples(study)})"
    behind, measure = score.use_behind or score.behind, rescoring.measure
    if score.use:
        text = f"{measure.title} {amount(measure, score.use)}; {text}"
    lead = rescoring.lead
    if lead is None:
        return text
    if lead.winner == trial.trial_id:
        return f"{text}; lead over trial {lead.runner_up}: {_describe_amount(lead)}"
    return (
        f"{text}; {amount(measure, behind, True).removesuffix(' nats')} behind trial {lead.winner}"
    )


def describe_retrained(study: Study, trial: Trial) -> str | None:
    """The losses of a finalist's configuration trained from other seeds.

    Returns:
        None if the configuration was not retrained.
    """
    retraining = study.retrained.retraining if study.retrained else None
    finalists = retraining.finalists if retraining else ()
    scores = next((one for one in finalists if one.trial_id == trial.trial_id), None)
    if retraining is None or scores is None:
        return None
    measure = retraining.measure
    values = [measure.digits(one) if one is not None else "failed" for one in scores.values]
    seeds = f"{counted(len(retraining.seeds), 'other seed')}, {counted(retraining.epochs, 'epoch')}"
    title = "" if measure.is_loss else f"{measure.title} "
    mean = f"{title}{amount(measure, scores.mean)}, the mean of "
    mean = "" if None in scores.values else mean
    if trial.epoch_to != retraining.epochs:
        seeds += f"; trial {trial.trial_id} itself has {trial.epoch_to}"
    text = f"{mean}{', '.join(values)} ({seeds})"
    lead = retraining.lead
    if lead and lead.winner == trial.trial_id:
        return f"{text}; lead over trial {lead.runner_up}: {_describe_amount(lead)}"
    return text


def describe_test(study: Study, trial: Trial) -> str:
    """The results of a trial on the test images, or what evaluates it."""
    event = study.evaluation(trial)
    if event is None:
        return f"not evaluated yet: {evaluate_command(study, trial)}"
    evaluation = event.evaluation
    return (
        f"{with_error(evaluation.negative_elbo)} nats, the negative ELBO; "
        f"{with_error(evaluation.importance_weighted_bound)}, the bound on the negative "
        f"log-likelihood (k = {evaluation.protocol.importance_samples:,})"
    )


def find_score(study: Study, trial: Trial) -> FinalistScore | None:
    """The rescored losses of a trial, or None if it was not rescored."""
    scores = study.rescored.rescoring.finalists if study.rescored else ()
    return next((one for one in scores if one.trial_id == trial.trial_id), None)


def count_samples(study: Study) -> str:
    """The numbers of samples and images of the rescoring; empty if nothing was rescored."""
    if study.rescored is None:
        return ""
    rescoring = study.rescored.rescoring
    samples = counted(rescoring.posterior_samples, "posterior sample")
    return f"{samples} of {counted(rescoring.images, 'validation image')}"


def _compare_with_samples(study: Study) -> str:
    """Compares the lead with the noise over images and posterior samples."""
    lead = study.rescored.rescoring.lead if study.rescored else None
    if lead is None:
        return "The noise is unknown, because no two finalists could be rescored."
    text = (
        f"{_how_measured(study, lead)}, the winner leads trial {lead.runner_up} by "
        f"{amount(lead.measure, lead.difference, True)}"
    )
    if lead.is_sure is None:
        return f"{text}. The noise is unknown, because there is only one image."
    over = "images and samples" if lead.measure.is_loss else "images"
    noise = f"two standard errors of this difference over these {over}"
    verdict = f"more than {noise}" if lead.is_sure else f"inside the noise, less than {noise}"
    return f"{text}: {verdict}. The effect of another training seed was not measured."


def _how_measured(study: Study, lead: Lead) -> str:
    if lead.measure.is_loss:
        return f"Rescored with {count_samples(study)}"
    images = counted(study.started.data.validation_images, "validation image")
    return f"By the {lead.measure.title} on {images}"


def _compare_with_seeds(study: Study) -> str:
    """Compares the lead with the noise over training seeds."""
    retraining = study.retrained.retraining if study.retrained else None
    if retraining is None:
        return ""
    seeds = counted(len(retraining.seeds), "other seed")
    prefix = f"Trained from {seeds} for {counted(retraining.epochs, 'epoch')} each"
    lead = retraining.lead
    if lead is None:
        return (
            f"{prefix}, no two of the finalists' configurations can be compared, because "
            "trainings failed."
        )
    text = (
        f"{prefix}, the winner's configuration leads that of trial {lead.runner_up} by "
        f"{amount(lead.measure, lead.difference, True)}"
    )
    if lead.is_sure is None:
        return f"{text}. The noise is unknown, because there is only one seed."
    noise = "two standard errors over the seeds"
    verdict = f"more than {noise}" if lead.is_sure else f"inside the noise, less than {noise}"
    return f"{text} on average: {verdict}."


def describe_lead(lead: Lead) -> str:
    """A sentence about the lead of one trial over another."""
    return f"trial {lead.winner} leads trial {lead.runner_up} by {_describe_amount(lead)}."


def describe_finalists(event: FinalistsRescored | FinalistsRetrained) -> str:
    """Describes the rescoring or retraining of finalists in one line."""
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


def _describe_amount(lead: Lead) -> str:
    noise = {True: "beyond the noise", False: "inside the noise", None: "noise unknown"}
    return f"{amount(lead.measure, lead.difference, True)}, {noise[lead.is_sure]}"
