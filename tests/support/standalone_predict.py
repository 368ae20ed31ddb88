"""`predict.py`, which finds `prepare.py` as it does in an export: as a module of its own."""

import importlib
import sys

from vaetune.data import prepare

sys.modules["prepare"] = prepare
predict = importlib.import_module("vaetune.export.standalone.predict")
