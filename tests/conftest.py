"""Settings that TensorFlow reads once, when it is imported: before any test module is."""

import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# The same examples each time, on machines of any speed: a failure is one that everybody sees.
settings.register_profile("vaetune", derandomize=True, deadline=None)
settings.load_profile("vaetune")
