"""Data sets to start with. Nothing is downloaded: they are found inside installed packages, or in a
folder of yours (FASTNN_DATASETS, ~/.fastnn/datasets, ~/.keras/datasets) as the .npz files Keras uses."""
from . import (  # noqa: F401
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    imdb,
    japanese_vowels,
    mnist,
    reuters,
)
