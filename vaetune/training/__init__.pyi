from .context import (
    TrainingContext,
)
from .correction import (
    LOWEST_LOSS_ONLY,
    Correction,
    fit_correction,
)
from .feed import (
    CALL_BYTES,
    DeviceData,
    Feed,
    feed_parts,
    first_images,
    put_on_device,
)
from .functions import (
    VALIDATION_BATCH_SIZE,
    compile_function,
    images_spec,
    to_unit_tensor,
)
from .objectives import (
    Effort,
    PerImage,
    area_under_curve,
    measure_use,
    nearest_neighbours,
)
from .restore import (
    read_variables,
    restore_best,
    write_variables,
)
from .runner import (
    EpochRunner,
    OnProgress,
)
from .schedule import (
    Epoch,
    plan_epoch,
)
from .snapshot import (
    choose_probe_images,
    decode,
    encode,
    generate,
    reconstruct,
    take_snapshot,
)
from .tasks import (
    MAX_CRASHES,
    Began,
    Compiling,
    Completed,
    EpochDone,
    Failed,
    Message,
    Progressed,
    Task,
    TimeUp,
    TrainedModel,
)
from .trial import (
    train_task,
)

__all__ = [
    "CALL_BYTES",
    "LOWEST_LOSS_ONLY",
    "MAX_CRASHES",
    "VALIDATION_BATCH_SIZE",
    "Began",
    "Compiling",
    "Completed",
    "Correction",
    "DeviceData",
    "Effort",
    "Epoch",
    "EpochDone",
    "EpochRunner",
    "Failed",
    "Feed",
    "Message",
    "OnProgress",
    "PerImage",
    "Progressed",
    "Task",
    "TimeUp",
    "TrainedModel",
    "TrainingContext",
    "area_under_curve",
    "choose_probe_images",
    "compile_function",
    "decode",
    "encode",
    "feed_parts",
    "first_images",
    "fit_correction",
    "generate",
    "images_spec",
    "measure_use",
    "nearest_neighbours",
    "plan_epoch",
    "put_on_device",
    "read_variables",
    "reconstruct",
    "restore_best",
    "take_snapshot",
    "to_unit_tensor",
    "train_task",
    "write_variables",
]
