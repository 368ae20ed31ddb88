from .disk_images import (
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
    "Split",
    "binarized",
    "choose_examples",
    "entropy_floor",
    "load_images",
    "load_prepared",
    "map_images",
    "prepare_images",
    "spread_over_classes",
    "to_unit_interval",
]
