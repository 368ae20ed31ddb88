"""The best trial as a folder that others can use."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from vaetune import figures
from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint, write_variables
from vaetune.errors import ResultsError
from vaetune.model import VAE, build_vae
from vaetune.pictures import Gallery, Pictures, decode, prior_grid, prior_samples
from vaetune.retention import leaders, standings
from vaetune.study import BEST, Study, Trial

MANIFEST = "hyperparameters.json"
_MANIFOLD_SIDE = 30
_LATENT_FIGURE = {True: "manifold.png", False: "prior_samples.png"}
_PROGRAM = "vaetune"


_README = """# A variational autoencoder of {data}

Found by vaetune: search `{search}`, trial {trial}, configuration {configuration}.
Its negative ELBO on {images} validation images is {loss} nats per image (one posterior sample),
after {epochs} epochs. The data's fingerprint begins with {fingerprint}.

{hyperparameters}

## Use it

Images are float arrays of shape (n, {shape}) with values in [0, 1]: divide bytes by 255.

The encoder and the decoder load with Keras alone:

```python
import keras
import numpy as np

encoder = keras.saving.load_model("encoder.keras")
decoder = keras.saving.load_model("decoder.keras")

images = np.zeros((1, {shape}), dtype="float32")  # put your own here
z_mean, z_log_var = encoder.predict(images, verbose=0)
reconstructions = decoder.predict(z_mean, verbose=0)
samples = decoder.predict(np.random.normal(size=(16, {latent_dim})), verbose=0)
```

The whole model, to train on, loads with vaetune:

```python
import vaetune

vae = vaetune.load_model("vae.keras")
```

## What it makes

All pictures are of validation images or of the prior.

{figures}
"""


def load_model(path: str | Path) -> VAE:
    """Loads a VAE from a `.keras` file that vaetune exported.

    Raises:
        ResultsError: There is no such file, or it holds no VAE of vaetune.
    """
    if not Path(path).is_file():
        raise ResultsError(f"There is no model at {path}. `vaetune best --export` writes one.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ResultsError(f"{path} is not a readable Keras model: {error}") from error
    if not isinstance(model, VAE):
        raise ResultsError(
            f"{path} holds a {type(model).__name__}, expected a VAE such as vae.keras. "
            "Load encoder.keras and decoder.keras with keras.saving.load_model."
        )
    return model


def restore_best(study: Study, trial: Trial) -> VAE:
    """Rebuilds a trial's model with the weights of its best epoch.

    Raises:
        ResultsError: Its checkpoint is damaged, or was not kept.
    """
    folder = study.trial_folder(trial.trial_id)
    kept = {leader.trial_id for leader in leaders(standings(study), study.search.limits.keep_best)}
    if trial.trial_id not in kept and not (folder / CHECKPOINT_NAME).exists():
        raise ResultsError(
            f"The weights of trial {trial.trial_id} were not kept: a search keeps those of its "
            "leaders and of the best of each latent_dim. There are those of "
            f"{', '.join(_kept(study))}. Run the search again with a larger --keep-best: "
            "it makes more of them anew."
        )
    checkpoint = Checkpoint.load(folder)
    if trial.best is None or checkpoint.best_epoch != trial.best.epoch:
        raise ResultsError(
            f"The checkpoint of trial {trial.trial_id} is older than its record: the search was "
            "stopped, or runs. Run it to its end first."
        )
    vae = build_vae(study.started.data.image_shape, trial.hyperparameters)
    write_variables(vae.variables, checkpoint.best_weights)
    return vae


def _kept(study: Study) -> list[str]:
    """The completed trials whose weights are there, best first."""
    folders = {trial.trial_id: study.trial_folder(trial.trial_id) for trial in study.ranking}
    return [trial_id for trial_id, path in folders.items() if (path / CHECKPOINT_NAME).exists()]


def export_trial(study: Study, trial: Trial, results: Path) -> Path:
    """Writes `results/best/`, whole or not at all.

    Returns:
        The folder: `vae.keras`, `encoder.keras`, `decoder.keras`, `hyperparameters.json`,
        figures as PNG and a README.

    Raises:
        ResultsError: The folder cannot be written or holds files of another program, or the
            trial's checkpoint is missing or damaged.
    """
    target = results / BEST
    _refuse_foreign(target)
    vae = restore_best(study, trial)
    try:
        _replace_folder(target, lambda folder: _write_all(folder, vae, study, trial))
    except OSError as error:
        raise ResultsError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target


def _write_all(folder: Path, vae: VAE, study: Study, trial: Trial) -> None:
    vae.save(folder / "vae.keras")
    _without_sampling(vae.encoder).save(folder / "encoder.keras")
    vae.decoder.save(folder / "decoder.keras")
    manifest = _manifest(study, trial)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    names = _write_figures(folder, vae, study, trial)
    (folder / "README.md").write_text(_readme(study, trial, names), encoding="utf-8")


def _without_sampling(encoder: keras.Model) -> keras.Model:
    """The encoder up to (z_mean, z_log_var), made of Keras's own layers alone."""
    return keras.Model(encoder.input, encoder.outputs[:2], name="encoder")


def _manifest(study: Study, trial: Trial) -> dict[str, Any]:
    best = trial.best
    data = study.started.data
    return {
        "program": _PROGRAM,
        "search": study.name,
        "trial_id": trial.trial_id,
        "configuration": trial.configuration,
        "hyperparameters": dict(trial.hyperparameters),
        "epochs": best.epoch if best else None,
        "parameters": trial.parameters,
        "validation": {
            "negative_elbo": best.val_loss if best else None,
            "reconstruction_loss": best.val_reconstruction_loss if best else None,
            "kl_loss": best.val_kl_loss if best else None,
            "unit": "nats per image, one posterior sample",
            "images": data.validation_images,
        },
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.image_shape),
            "pixel_range": [0.0, 1.0],
        },
        "seed": study.search.seed,
        "versions": dict(study.environment.versions) if study.environment else {},
    }


def _write_figures(folder: Path, vae: VAE, study: Study, trial: Trial) -> list[str]:
    """Draws what the search kept of the trial, and the latent space from the model itself."""
    drawn = {_LATENT_FIGURE[vae.latent_dim == 2]: _draw_prior(vae)}
    gallery = Gallery.load(study.folder)
    pictures = Pictures.load(study.trial_folder(trial.trial_id))
    if gallery and pictures:
        classes = study.started.data.class_names
        clusters = figures.compute_clusters(pictures.z_mean, gallery.labels, classes)
        drawn["clusters.png"] = figures.draw_clusters(clusters)
        both = figures.compute_reconstructions(gallery.originals, pictures.reconstructions)
        drawn["reconstructions.png"] = figures.draw_grid(both)
    for name, figure in drawn.items():
        (folder / name).write_bytes(figures.to_png(figure))
    return list(drawn)


def _draw_prior(vae: VAE) -> Figure:
    """The manifold over the prior's quantiles for two latent dimensions, else prior samples."""
    if vae.latent_dim != 2:
        return figures.draw_grid(
            figures.compute_samples(decode(vae, prior_samples(vae.latent_dim)))
        )
    grid = prior_grid(_MANIFOLD_SIDE)
    tiles = decode(vae, grid.reshape(-1, 2))
    return figures.draw_grid(
        figures.compute_manifold(tiles.reshape(_MANIFOLD_SIDE, _MANIFOLD_SIDE, *vae.image_shape))
    )


def _readme(study: Study, trial: Trial, figure_names: Sequence[str]) -> str:
    data, best = study.started.data, trial.best
    height, width, channels = data.image_shape
    return _README.format(
        search=study.name,
        data=data.name,
        fingerprint=data.fingerprint[:12],
        trial=trial.trial_id,
        configuration=trial.configuration,
        loss=f"{best.val_loss:.2f}" if best else "unknown",
        epochs=best.epoch if best else 0,
        images=f"{data.validation_images:,}",
        shape=f"{height}, {width}, {channels}",
        latent_dim=trial.hyperparameters["latent_dim"],
        hyperparameters="\n".join(f"- `{k}`: {v:g}" for k, v in trial.hyperparameters.items()),
        figures="\n\n".join(f"![{Path(n).stem.replace('_', ' ')}]({n})" for n in figure_names),
    )


def _replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a new folder beside the old one, then swaps them."""
    fresh, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        old.rename(target)  # a swap that was cut off half-way
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        write(fresh)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    try:
        program = json.loads((target / MANIFEST).read_text(encoding="utf-8")).get("program")
    except (OSError, ValueError, AttributeError):
        program = None
    if program != _PROGRAM:
        raise ResultsError(
            f"{target} is not an export of vaetune and will not be overwritten. "
            "Move it away, or use other results with --results."
        )
