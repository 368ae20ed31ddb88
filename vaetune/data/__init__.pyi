from .disk.cache import (
    clear_cache,
    list_cache,
)
from .disk.images import (
    DiskImages,
    Images,
)
from .examples import (
    choose_examples,
    spread_over_classes,
)
from .images import (
    ImageSet,
    Split,
    binarized,
    entropy_floor,
    map_images,
    prepare_images,
    to_unit_interval,
)
from .outline import (
    Outline,
    read_outline,
)
from .sources import (
    Dataset,
    load_images,
    load_prepared,
)
from .zero_copy import (
    ALIGNMENT,
)

__all__ = [
    "ALIGNMENT",
    "Dataset",
    "DiskImages",
    "ImageSet",
    "Images",
    "Outline",
    "Split",
    "binarized",
    "choose_examples",
    "clear_cache",
    "entropy_floor",
    "list_cache",
    "load_images",
    "load_prepared",
    "map_images",
    "prepare_images",
    "read_outline",
    "spread_over_classes",
    "to_unit_interval",
]
