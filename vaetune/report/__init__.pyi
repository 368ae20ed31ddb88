from .analysis.distributions import as_distribution, silence_optuna
from .charts.clusters import compute_clusters, draw_clusters, to_png
from .charts.grids import (
    DPI,
    compute_interpolations,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
    compute_traversal,
    draw_grid,
)
from .charts.heat_maps import HeatMaps
from .charts.latent_walks import (
    MAX_DIMENSIONS,
    TRAVERSAL_LIMIT,
    Walks,
    find_active,
    interpolate,
    traversal_values,
    traverse,
)
from .contact_sheet import (
    write_contact_sheet,
)
from .heat_maps import (
    check_heat_maps,
    write_heat_maps,
)
from .latent_map import (
    check_map,
    write_map,
)
from .live import (
    Ended,
    Waiting,
    WatchEvent,
    WriteFailed,
    Written,
    watch,
)
from .output import (
    is_live_page,
    write_report,
)
from .page import (
    render_report,
)
from .text.certainty import (
    describe_decision,
    describe_finalists,
    describe_lead,
    describe_rescored,
    describe_retrained,
    describe_winner_by_loss,
)
from .text.compilation import (
    COMPILES,
    describe_programs,
)
from .text.evaluations import (
    describe_protocol,
    evaluation_rows,
    evaluations_as_json,
    evaluations_as_table,
    kl_by_level,
)
from .text.explanation import (
    describe_effort,
    explanation_as_table,
)
from .text.images import (
    describe_image_set,
    describe_images,
    describe_reading,
    describe_warnings,
)
from .text.search import (
    describe_example,
    describe_lead_over,
    describe_place,
    describe_plan,
    describe_retraining,
    describe_search,
    describe_share,
    describe_small_space,
    describe_structures,
    describe_winner,
    list_searches,
    list_settings,
)
from .text.sessions import describe_session
from .text.trials import (
    describe_training,
    failures_in_full,
    trial_line,
    trials_as_csv,
    trials_as_json,
    trials_as_table,
)
from .text.units import (
    counted,
    printable,
)
from .verdicts.collect import describe_hints

__all__ = [
    "COMPILES",
    "DPI",
    "MAX_DIMENSIONS",
    "TRAVERSAL_LIMIT",
    "Ended",
    "HeatMaps",
    "Waiting",
    "Walks",
    "WatchEvent",
    "WriteFailed",
    "Written",
    "as_distribution",
    "check_heat_maps",
    "check_map",
    "compute_clusters",
    "compute_interpolations",
    "compute_manifold",
    "compute_reconstructions",
    "compute_samples",
    "compute_traversal",
    "counted",
    "describe_decision",
    "describe_effort",
    "describe_example",
    "describe_finalists",
    "describe_hints",
    "describe_image_set",
    "describe_images",
    "describe_lead",
    "describe_lead_over",
    "describe_place",
    "describe_plan",
    "describe_programs",
    "describe_protocol",
    "describe_reading",
    "describe_rescored",
    "describe_retrained",
    "describe_retraining",
    "describe_search",
    "describe_session",
    "describe_share",
    "describe_small_space",
    "describe_structures",
    "describe_training",
    "describe_warnings",
    "describe_winner",
    "describe_winner_by_loss",
    "draw_clusters",
    "draw_grid",
    "evaluation_rows",
    "evaluations_as_json",
    "evaluations_as_table",
    "explanation_as_table",
    "failures_in_full",
    "find_active",
    "interpolate",
    "is_live_page",
    "kl_by_level",
    "list_searches",
    "list_settings",
    "printable",
    "render_report",
    "silence_optuna",
    "to_png",
    "traversal_values",
    "traverse",
    "trial_line",
    "trials_as_csv",
    "trials_as_json",
    "trials_as_table",
    "watch",
    "write_contact_sheet",
    "write_heat_maps",
    "write_map",
    "write_report",
]
