"""The queue of trials from which idle workers are served."""

from recorded_sources import Source, opening

from vaetune.search.executors.trial_queue import TrialQueue
from vaetune.training.tasks import Completed, EpochDone


def test_a_trial_that_completes_after_the_time_budget_is_ended():
    calls = []
    source = Source("a", calls, stop_at="0000")
    with TrialQueue([opening(source, "a", calls)], {}) as queue:
        late, in_time = queue.next_job(1), queue.next_job(2)
        queue.record(late, EpochDone(None, None))
        assert queue.stop
        queue.finish(late)
        queue.record(in_time, EpochDone(None, None))
        queue.record(in_time, Completed(9.5, None, None))
        queue.finish(in_time)
        assert queue.next_job(1) is None
    assert [trial for _, call, trial in calls if call == "end"] == ["0001"]
