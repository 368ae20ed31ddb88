"""Texts of a model card that depend on the kind of model: its networks, figures and files."""

from collections.abc import Mapping, Sequence

from vaetune.config import Value, value_of
from vaetune.models import Architecture
from vaetune.report import MAX_DIMENSIONS, TRAVERSAL_LIMIT, counted

Rows = list[tuple[str, ...]]

_SAME_LAYERS = ("activation", "dense_layers", "blocks", "normalization", "output_stride", "levels")

_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}


def describe_networks(
    image_shape: tuple[int, int, int], hyperparameters: Mapping[str, Value]
) -> str:
    """The networks of a model in a few sentences.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: Hyperparameters of the model.
    """
    architecture = Architecture.of(image_shape, hyperparameters)
    sentences = [
        _describe_encoder(architecture),
        _describe_decoder(architecture),
        _describe_layers(architecture),
    ]
    if architecture.levels > 1:
        sentences.append(_describe_levels(architecture))
    if value_of(hyperparameters, "weight_average"):
        sentences.append("The weights are a moving average over the steps of training.")
    return " ".join(sentences)


def is_example(image_shape: tuple[int, int, int], hyperparameters: Mapping[str, Value]) -> bool:
    """Whether a model has the layers of the Keras example, of any width."""
    made = Architecture.of(image_shape, hyperparameters)
    example = Architecture(made.image_shape)
    same = all(getattr(made, name) == getattr(example, name) for name in _SAME_LAYERS)
    is_convolutional = (made.encoder, made.decoder) == ("conv", "conv")
    return same and is_convolutional and len(made.filters) == len(example.filters)


def _describe_encoder(architecture: Architecture) -> str:
    units = counted(architecture.dense_units, "unit")
    if architecture.encoder == "dense":
        many = counted(architecture.dense_layers, "dense layer")
        return f"The encoder has {many} of {units}, then z_mean and z_log_var."
    return (
        f"The encoder has {_describe_stages(architecture)}, then a dense layer of {units}, z_mean "
        "and z_log_var."
    )


def _describe_stages(architecture: Architecture) -> str:
    count, blocks = len(architecture.filters), architecture.blocks
    filters = ", ".join(map(str, architecture.filters))
    last = architecture.map_size(count)
    added = f" and {counted(blocks, 'residual block')}" if blocks else ""
    kind = "convolutions" if not blocks else "stages"
    each = "each of which" if not blocks else f"each a convolution{added}, which"
    return (
        f"{_COUNTS[count]} {kind} with {filters} filters, {each} halves height and width, down to "
        f"{last[0]} x {last[1]}"
    )


def _describe_decoder(architecture: Architecture) -> str:
    if architecture.decoder == "dense":
        many = counted(architecture.dense_layers, "dense layer")
        units = counted(architecture.dense_units, "unit")
        return f"The decoder has {many} of {units}, then one layer for all pixels."
    half = "; its last layer doubles height and width" * (architecture.output_stride == 2)
    if architecture.encoder == "dense":
        return (
            f"The decoder has a dense layer, then {_describe_stages(architecture)} backwards{half}."
        )
    return f"The decoder mirrors it with transposed convolutions{half}."


def _describe_layers(architecture: Architecture) -> str:
    kinds = {"group": "group normalization", "batch": "batch normalization"}
    found = kinds.get(architecture.normalization)
    added = f" after {found}" if found else ""
    return f"The activation is {architecture.activation.replace('_', ' ')}{added}."


def _describe_levels(architecture: Architecture) -> str:
    count = len(architecture.filters)
    stages = range(count, count - architecture.levels + 1, -1)
    sizes = " and ".join(" x ".join(map(str, architecture.map_size(stage))) for stage in stages)
    channels = counted(architecture.level_channels, "channel")
    return (
        f"There are {_COUNTS[architecture.levels]} levels of latent variables (Sønderby et al. "
        f"2016): the vector z at the top, and below it maps of {sizes} with {channels}, which the "
        "decoder draws one after the other. The posterior of a lower level is relative to its "
        "prior, which depends on the levels above."
    )


def describe_figures(names: Sequence[str], levels: int) -> Rows:
    """File name, title and caption of each figure.

    Args:
        names: File names of the figures.
        levels: Number of levels of the model.
    """
    own = {**_FIGURES, **(_FIGURES_OF_LEVELS if levels > 1 else {})}
    return [(name, *texts) for name, texts in own.items() if name in names]


_LOWER = "Lower levels are at their prior means."

_INTERPOLATIONS = "Images decoded from straight lines between the z_mean of two validation images."

_TRAVERSALS = (
    f"Images decoded from z between -{TRAVERSAL_LIMIT} and {TRAVERSAL_LIMIT} along one active "
    f"dimension per row, with all other dimensions at 0. The rows show at most {MAX_DIMENSIONS} "
    "dimensions, in descending order of the variance of z_mean over validation images."
)

_MANIFOLD = (
    "Images decoded from a grid over both latent dimensions, in steps of equal prior probability."
)

_FIGURES: Mapping[str, tuple[str, str]] = {
    "reconstructions.png": (
        "Reconstructions",
        "Validation images above the images decoded from their z_mean.",
    ),
    "prior_samples.png": (
        "Samples",
        "Images decoded from random z of the prior N(0, 1), without any selection.",
    ),
    "manifold.png": ("Latent space", _MANIFOLD),
    "interpolations.png": ("Interpolations", _INTERPOLATIONS),
    "traversal.png": ("Traversals", _TRAVERSALS),
    "clusters.png": (
        "Latent means",
        "z_mean of validation images, coloured by class if the images have labels.",
    ),
}
"""Title and caption of each figure, in the order of the card."""

_FIGURES_OF_LEVELS: Mapping[str, tuple[str, str]] = {
    "reconstructions.png": (
        "Reconstructions",
        "Validation images above their reconstructions through the posterior means of all levels.",
    ),
    "prior_samples.png": (
        "Samples",
        "Images decoded from random latent variables of all levels, without any selection.",
    ),
    "manifold.png": ("Latent space of the top level", f"{_MANIFOLD} {_LOWER}"),
    "interpolations.png": ("Interpolations of the top level", f"{_INTERPOLATIONS} {_LOWER}"),
    "traversal.png": ("Traversals of the top level", f"{_TRAVERSALS} {_LOWER}"),
}
"""The same for models with several levels, where it differs."""


def describe_files(formats: Sequence[str], levels: int) -> Rows:
    """Name and content of the files of some formats.

    Args:
        formats: Names of the formats.
        levels: Number of levels of the model.
    """
    rows: Rows = []
    for name in formats:
        if name == "saved-model":
            endpoints = ["encode", "decode", "reconstruct", "sample"]
            added = ["encode_levels"] if levels > 1 else []
            rows.append(("saved_model/", f"TensorFlow: {', '.join(endpoints + added)}"))
            continue
        ending = {"keras": "keras", "onnx": "onnx", "litert": "tflite"}[name]
        whole = [("vae.keras", "the whole model, which needs vaetune")]
        parts = _PARTS | (_PARTS_OF_LEVELS if levels > 1 else {})
        rows += whole if name == "keras" else []
        rows += [(f"{part}.{ending}", content) for part, content in parts.items()]
    return rows


_PARTS = {"encoder": "images to z_mean and z_log_var", "decoder": "z to images"}

_PARTS_OF_LEVELS = {
    "decoder": "z to images, with lower levels at their prior means",
    "reconstructor": "images to images, through the posterior means of all levels",
    "generator": "z and the maps u of all lower levels to images",
}
