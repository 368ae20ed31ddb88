"""Image sets of users, read by the command `vaetune check`."""

import numpy as np
import pytest
from PIL import Image
from prepared_commands import PreparedCommand
from user_sets import SETS


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("glyphs", 0, "white, behind transparent pixels"),
        ("split", 0, "40 training, 10 validation and 10 test images"),
        ("png12bit", 0, "uint16 0..4095 taken as 0..1"),
        ("medmnist", 0, "4: 0 (50), 1 (50), 2 (50), 3 (50)"),
        ("truncated", 1, "003.jpg, 023.jpg, 043.jpg"),
    ],
)
def test_check_reports_how_a_search_would_read_an_image_set(tmp_path, name, code, words):
    path = SETS[name](tmp_path)
    with PreparedCommand(["check", "--dataset", path], tmp_path) as process:
        exit_status, out, error = process.finish(timeout=120)
    assert exit_status == code
    assert words in (error if code else out)
    sheet = tmp_path / "results" / f"{path.stem}-images.png"
    assert sheet.exists() == (code == 0)
    if code:
        assert (out, error.count("\n")) == ("", 1)
    else:
        assert error == ""
        with Image.open(sheet) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10, "the images are visible"
