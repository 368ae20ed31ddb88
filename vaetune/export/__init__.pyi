from .bridges.write import (
    opening_command,
    write_trials,
)
from .bundle import (
    Export,
    write_export,
)
from .folder import (
    check_replaceable,
)
from .reader import (
    Reader,
)
from .tables import (
    TableFacts,
    check_table,
    write_scores,
    write_table,
)
from .trial import export_trial

__all__ = [
    "Export",
    "Reader",
    "TableFacts",
    "check_replaceable",
    "check_table",
    "export_trial",
    "opening_command",
    "write_export",
    "write_scores",
    "write_table",
    "write_trials",
]
