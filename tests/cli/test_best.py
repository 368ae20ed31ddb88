"""`vaetune best`: the winner, its lead over the next trial, and unknown studies."""

from journals import make_evaluated, make_rescored, make_trial_events, write_search


def test_best_prints_the_lead_and_the_test_loss_of_the_winner(vaetune, folder):
    trials = [
        event
        for number, loss in enumerate((180.0, 181.0))
        for event in make_trial_events(f"{number:04d}", [loss], configuration=number)
    ]
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 1): 181.25}, behind=0.5)
    evaluated = make_evaluated("0001", 1)
    write_search(folder / "results", "tiny", *trials, rescored, evaluated)
    code, out, _ = vaetune("best", "tiny")
    assert code == 0
    assert out.startswith("Winner of tiny")
    assert "found by         tiny: trial 0001" in out
    assert "lead over trial 0000: 0.75 +- 0.50 nats, inside the noise" in out
    assert "test images      130.50 +- 1.25 nats, the negative ELBO; 121.75 +- 1.12, the" in out
    _, out, _ = vaetune("best", "tiny", "--trial", "0000")
    assert out.startswith("Trial 0000 of tiny")
    assert "not evaluated yet: vaetune evaluate tiny --trial 0000" in out


def test_an_unknown_study_is_refused(refused):
    assert "There is no search or baseline in baselines/none." in refused("best", "baselines/none")
    assert "There is no search in results yet" in refused("train", "--best", "none")


def test_an_unknown_search_is_reported_with_the_existing_searches(vaetune, folder):
    write_search(folder / "results", "squares", *make_trial_events("0000", [180.0]))
    code, _, error = vaetune("best", "circles")
    assert code == 1
    assert 'no search "circles" in results. There are: squares.' in error
