"""Rows of images that count how many images are in memory."""

import weakref

from vaetune.data.rows import ImageRows


class CountedRows(ImageRows):
    """Rows that count the images that they have read and that are still in memory."""

    def count(self):
        """Begins to count."""
        self.__dict__.update(alive=[], most=0)

    def read(self, rows):
        images = super().read(rows).copy()
        self.alive.append((weakref.ref(images), len(images)))
        self.alive[:] = [each for each in self.alive if each[0]() is not None]
        now = sum(count for image, count in self.alive if image() is not None)
        self.__dict__["most"] = max(self.most, now)
        return images


def counted(rows):
    """Returns the same rows with `most`, the largest number of images in memory so far."""
    found = CountedRows(**{name: getattr(rows, name) for name in rows.__dataclass_fields__})
    found.count()
    return found
