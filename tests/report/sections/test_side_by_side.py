"""Images of the winner and of the Keras example, side by side."""

import base64
import re

import pytest
from stories import Outline, headline_of, page_of, reference, usual, words_of

from vaetune.study.artifacts import PICTURES_NAME


def images_of(page):
    """Those of the winner and the reference."""
    (section,) = re.findall(r'<section class="pictures">.*?</section>', page, flags=re.DOTALL)
    return [(a["alt"], a["src"]) for tag, a in Outline(section).elements if tag == "img"]


def test_pictures_stand_side_by_side_as_inlined_files(tmp_path):
    usual(tmp_path / "tiny").write()
    reference(tmp_path).write()
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path))
    assert [alt for alt, _ in images_of(page)] == [
        "4 images above the reconstructions of the winner",
        "4 images above the reconstructions of the Keras example",
        "4 samples from the prior, decoded by the winner",
        "4 samples from the prior, decoded by the Keras example",
        "3 by 3 images over the two latent dimensions of the Keras example",
    ]
    for _, source in images_of(page):
        encoded = source.removeprefix("data:image/png;base64,")
        assert base64.b64decode(encoded, validate=True).startswith(b"\x89PNG")
    assert "not available, because the model has 4 latent dimensions" in words_of(page)
    labels = Outline(page).values("aria-label")
    assert "Scatter of 12 latent means of the winner, coloured by 3 classes" in labels


def flip_bits(content):
    middle = len(content) // 3
    return content[:middle] + bytes(255 - byte for byte in content[middle:])


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"no archive", flip_bits, None])
def test_a_damaged_picture_costs_the_picture_and_not_the_page(tmp_path, damage):
    study = usual(tmp_path / "tiny").write()
    archive = study.trial_folder("0003") / PICTURES_NAME
    archive.write_bytes(damage(archive.read_bytes())) if damage else archive.unlink()
    page = page_of(usual(tmp_path / "tiny"))
    assert "This search has no stored images." in words_of(page)
    assert "131.2" in headline_of(page)


def test_a_lost_gallery_costs_the_reconstructions_alone(tmp_path):
    study = usual(tmp_path / "tiny").write()
    (study.folder / PICTURES_NAME).unlink()
    page = page_of(usual(tmp_path / "tiny"))
    assert [alt for alt, _ in images_of(page)] == [
        "4 samples from the prior, decoded by the winner"
    ]
