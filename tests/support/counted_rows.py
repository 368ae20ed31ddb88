"""Rows of images that count the images in memory."""

import weakref

from vaetune.data.rows import ImageRows


class CountedRows(ImageRows):
    """Rows that count how many of the images that they have read are still in memory."""

    def count(self):
        """Starts the count."""
        self.__dict__.update(alive=[], most=0)

    def read(self, rows):
        images = super().read(rows).copy()
        self.alive.append((weakref.ref(images), len(images)))
        self.alive[:] = [each for each in self.alive if each[0]() is not None]
        in_memory = sum(count for image, count in self.alive if image() is not None)
        self.__dict__["most"] = max(self.most, in_memory)
        return images


def count_images(rows):
    """Returns the same rows with `most`, the maximum number of images in memory so far."""
    counting = CountedRows(**{name: getattr(rows, name) for name in rows.__dataclass_fields__})
    counting.count()
    return counting
