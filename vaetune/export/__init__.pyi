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
from .manifest import (
    Exported,
    find_export,
    read_manifest,
)
from .reader import (
    Reader,
)
from .trial import export_trial

__all__ = [
    "Export",
    "Exported",
    "Reader",
    "check_replaceable",
    "export_trial",
    "find_export",
    "opening_command",
    "read_manifest",
    "write_export",
    "write_trials",
]
