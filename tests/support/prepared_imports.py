"""Modules that the server of `prepared_commands` imports once, because this takes seconds."""

from vaetune.device import import_tensorflow

import_tensorflow()

import keras_tuner  # noqa: E402, F401

import vaetune.report.output  # noqa: E402
import vaetune.search.executors.local  # noqa: E402
import vaetune.training.trial  # noqa: E402, F401
