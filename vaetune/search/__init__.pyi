from .executors.base import (
    Executor,
    TrialSource,
)
from .executors.local import LocalExecutor, local_executor
from .executors.ray_cluster import (
    has_token,
)
from .executors.ray_executor import (
    open_ray_executor,
)
from .executors.resources import (
    ExecutorOptions,
)
from .explain import (
    estimate_path_s,
    train_path,
)
from .interrupts import StoppableWatcher
from .objectives import check_objectives
from .phases import run_session
from .preflight.cost_model import (
    DurationRange,
)
from .preflight.probe import (
    ProbeResult,
    probe_search,
)
from .resume import (
    is_unfinished,
)
from .run import run_search
from .session import (
    SearchSession,
    open_baseline,
    open_search,
)
from .starting_points import (
    resolve_with_starting_points,
)
from .summary import (
    summarise,
)
from .watcher import (
    NoWatcher,
    Watcher,
    run_of_reference,
)

__all__ = [
    "DurationRange",
    "Executor",
    "ExecutorOptions",
    "LocalExecutor",
    "NoWatcher",
    "ProbeResult",
    "SearchSession",
    "StoppableWatcher",
    "TrialSource",
    "Watcher",
    "check_objectives",
    "estimate_path_s",
    "has_token",
    "is_unfinished",
    "local_executor",
    "open_baseline",
    "open_ray_executor",
    "open_search",
    "probe_search",
    "resolve_with_starting_points",
    "run_of_reference",
    "run_search",
    "run_session",
    "summarise",
    "train_path",
]
