from .compressed import compressed_sizes
from .disk.cache import (
    cache_folder,
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
from .for_model import (
    Trained,
    open_rows,
)
from .for_training import prepare_images, prepare_others
from .images import (
    ImageSet,
    Split,
    binarized,
    entropy_floor,
    map_images,
    to_pixels,
    to_unit_interval,
)
from .outline import (
    Outline,
    read_outline,
)
from .prefetch import read_ahead
from .rows import (
    SPLITS,
    UNLABELLED,
    ImageRows,
    rows_of,
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
    "SPLITS",
    "UNLABELLED",
    "Dataset",
    "DiskImages",
    "ImageRows",
    "ImageSet",
    "Images",
    "Outline",
    "Split",
    "Trained",
    "binarized",
    "cache_folder",
    "choose_examples",
    "clear_cache",
    "compressed_sizes",
    "entropy_floor",
    "list_cache",
    "load_images",
    "load_prepared",
    "map_images",
    "open_rows",
    "prepare_images",
    "prepare_others",
    "read_ahead",
    "read_outline",
    "rows_of",
    "spread_over_classes",
    "to_pixels",
    "to_unit_interval",
]
