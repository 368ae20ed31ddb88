"""Finds the best convolutional variational autoencoder for a set of images.

Everything is imported on first use, so `import vaetune` takes milliseconds: TensorFlow alone takes
seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
