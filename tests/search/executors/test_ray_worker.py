"""A worker without the images of the search reports an error before it trains."""

import pickle

import numpy as np
import pytest

from vaetune.data.sources import load_images
from vaetune.errors import DataError
from vaetune.search.executors.ray_worker import Worker, share_images

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_worker_refuses_missing_and_changed_images(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype(np.uint8))
    images = share_images(load_images(path, {"from_disk": True}))
    assert len(images.test) == 0
    sent = pickle.dumps(images)
    path.unlink()
    with pytest.raises(DataError, match="are not on this machine"):
        Worker(pickle.loads(sent), "cpu", 1).describe()
    path.write_bytes(b"other images")
    with pytest.raises(DataError, match="another size or time"):
        Worker(pickle.loads(sent), "cpu", 1).describe()
