from .bundle import (
    Export,
    export_trial,
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

__all__ = [
    "Export",
    "Exported",
    "Reader",
    "check_replaceable",
    "export_trial",
    "find_export",
    "read_manifest",
]
