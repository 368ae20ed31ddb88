"""The packaged sample of MNIST: 6,000 training and 1,000 test images, balanced over the digits."""
