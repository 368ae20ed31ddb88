"""Hyperparameter search for convolutional variational autoencoders on a set of images.

Each name is imported on first use, so `import vaetune` takes milliseconds. TensorFlow, which takes
seconds, is imported only when it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
