"""Tiny models to export, and replacements for the process that reads an export back."""

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import keras
from tiny_searches import GRID, changed, run

from vaetune.cli import app
from vaetune.config.space import Pinned
from vaetune.config.spec import Budget
from vaetune.export.standalone.read_back import verify_format
from vaetune.models.networks import build_decoder, build_encoder
from vaetune.models.vae import VAE

LADDER = {"levels": 3, "level_channels": 2, "activation": "silu", "normalization": "batch"}
"""Hyperparameters of models with three levels."""


def search_with_latent_dim(results, latent_dim, **values):
    """Runs a search with two trials of two epochs and pinned values."""
    pinned = {
        name: Pinned(value=value) for name, value in {"latent_dim": latent_dim, **values}.items()
    }
    space = GRID.space.model_copy(update=pinned)
    return run(results, changed(GRID, space=space, budget=Budget(max_epochs=2, max_trials=2)))


def tiny_vae(image_shape=(9, 10, 1), latent_dim=2):
    keras.utils.set_random_seed(0)
    return VAE(
        build_encoder(image_shape, latent_dim, (2, 3), 4),
        build_decoder(image_shape, latent_dim, (2, 3)),
    )


def vaetune(*arguments):
    """Runs the command line in this process; returns exit status, stdout and stderr."""
    out, error = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    argv = mock.patch.object(sys, "argv", ["vaetune", *map(str, arguments)])
    try:
        with argv, redirect_stdout(out), redirect_stderr(error):
            app.main()
    except SystemExit as done:
        return done.code or 0, out.getvalue(), error.getvalue()
    finally:
        signal.signal(signal.SIGTERM, handler)


class StubReader:
    """A replacement for `Reader` that reads nothing and reports one difference for all formats."""

    def __init__(self, difference=1e-7, error=None):
        self.answer = (
            {"max_difference": {"encode": difference, "decode": difference}}
            if error is None
            else {"error": error}
        )

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        pass

    def read(self, folder, formats, reference):
        return dict.fromkeys(formats, self.answer)


class ReaderInThisProcess(StubReader):
    """A replacement for `Reader` that reads the export in the test process."""

    def read(self, folder, formats, reference):
        answers = [verify_format(folder, name, reference) for name in formats]
        return {answer.pop("format"): answer for answer in answers}
