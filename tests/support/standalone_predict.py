"""`predict.py`, which finds its modules as it does in an export: as modules of their own."""

import importlib
import sys

from vaetune.data import prepare
from vaetune.export.standalone import philox, pictures, tables

sys.modules |= {"prepare": prepare, "philox": philox, "pictures": pictures, "tables": tables}
predict = importlib.import_module("vaetune.export.standalone.predict")
