"""The values of options that have a fixed list of them."""

from enum import StrEnum


class DeviceOption(StrEnum):
    """Values of --device."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class PrecisionOption(StrEnum):
    """Values of --precision."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


class LikelihoodOption(StrEnum):
    """Values of --likelihood."""

    bernoulli = "bernoulli"
    continuous_bernoulli = "continuous_bernoulli"
    gaussian = "gaussian"
    discretized_logistic = "discretized_logistic"


class OnOption(StrEnum):
    """Values of --on."""

    train = "train"
    both = "train+validation"


class DecayOption(StrEnum):
    """Values of --learning-rate-decay."""

    none = "none"
    cosine = "cosine"


class AlgorithmOption(StrEnum):
    """Values of --algorithm."""

    hyperband = "hyperband"
    freeze_thaw = "freeze_thaw"
    random = "random"
    bayesian = "bayesian"
    grid = "grid"


class FormatOption(StrEnum):
    """Values of --format for trials."""

    table = "table"
    json = "json"
    csv = "csv"


class ExportFormat(StrEnum):
    """Values of --format for an export."""

    keras = "keras"
    saved_model = "saved-model"
    onnx = "onnx"
    litert = "litert"
    all = "all"


class EvaluationFormat(StrEnum):
    """Values of --format for an evaluation."""

    table = "table"
    json = "json"


class ObjectiveOption(StrEnum):
    """Values of --objective and --choose-by."""

    val_loss = "val_loss"
    knn_accuracy = "knn_accuracy"
    probe_accuracy = "probe_accuracy"
    auroc = "auroc"


class SplitOption(StrEnum):
    """Values of --split."""

    train = "train"
    validation = "validation"
    test = "test"
    left_out = "left_out"


class ResizeOption(StrEnum):
    """Values of --resize."""

    crop = "crop"
    pad = "pad"
    stretch = "stretch"
