"""The module `predict.py` as in an export, where its helper modules are top-level modules."""

import importlib
import sys

from vaetune.data import prepare
from vaetune.export.standalone import philox, pictures, tables

sys.modules |= {"prepare": prepare, "philox": philox, "pictures": pictures, "tables": tables}
predict = importlib.import_module("vaetune.export.standalone.predict")
