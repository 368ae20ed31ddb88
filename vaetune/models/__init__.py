"""The variational autoencoder: networks, losses, optimizer and Keras Tuner hypermodel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
