"""Names for the folders of configurations that are trained outside a search."""

from itertools import count
from pathlib import Path

from vaetune.config import BASELINES, REFERENCE, SearchSpec, differences
from vaetune.data import ImageSet
from vaetune.errors import JournalError
from vaetune.search.resume import find_past
from vaetune.study import Study


def free_name(stem: str, spec: SearchSpec, images: ImageSet, results: Path) -> str:
    """Returns a name that is free, or that belongs to this very experiment already.

    Args:
        stem: Beginning of the name.
        spec: The experiment.
        images: The image set.
        results: Folder of all results.
    """
    stem = f"{stem}-{images.name}-{spec.budget.max_epochs}"
    for attempt in count(1):
        name = stem if attempt == 1 else f"{stem}-{attempt}"
        try:
            past = find_past(results / BASELINES / name)
        except JournalError:
            continue  # The damaged baseline is left as it is, so that the user can repair it.
        if past is None or _is_same(past, spec, images):
            return name
    raise AssertionError("unreachable: count() does not end")


def _is_same(past: Study, spec: SearchSpec, images: ImageSet) -> bool:
    same_data = past.started.data.fingerprint == images.fingerprint
    return same_data and not differences(spec, past.started.search)


def configuration_name(spec: SearchSpec) -> str:
    """Returns a name for a single configuration, such as "reference" or "filters-16-32-...".

    Args:
        spec: A search with a single configuration.
    """
    values = {name: dimension.listed()[0] for name, dimension in spec.space.dimensions()}
    if values == REFERENCE:
        return "reference"
    name = (
        f"filters-{values['filters_1']}-{values['filters_2']}-dense-{values['dense_units']}"
        f"-latent-{values['latent_dim']}-rate-{values['learning_rate']:g}"
    )
    labels = {"batch_size": "batch", "beta": "beta"}
    optional = [f"-{label}-{values[key]:g}" for key, label in labels.items() if key in values]
    return name + "".join(optional)
