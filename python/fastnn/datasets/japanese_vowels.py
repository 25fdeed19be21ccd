"""Nine speakers saying two vowels: 12 cepstral coefficients, 7 to 29 steps (Kudo, Toyama and Shimbo)."""

import numpy as np

from .find import load_npz, not_found, package_file

_STEPS = 29


def load_data(path="japanese_vowels.npz"):
    """The 270 training and 370 test series inside aeon, zeros after the end of the shorter ones.

    Returns:
        (x_train, y_train), (x_test, y_test): float32 series (n, 29, 12) and int64 speakers 0 to 8 (n,).

    Raises:
        FileNotFoundError: aeon is not installed and no file is there.
    """
    found = load_npz("japanese_vowels", path)
    if found is not None:
        return found
    parts = []
    for part in ("TRAIN", "TEST"):
        source = package_file("aeon", "datasets", "data", "JapaneseVowels", f"JapaneseVowels_{part}.ts")
        if source is None:
            raise not_found("japanese_vowels", "aeon")
        parts.append(_read(source))
    return tuple(parts)


def _read(source):
    """A .ts file: channels separated by colons, values by commas, the class last."""
    series, labels = [], []
    with open(source, encoding="utf-8") as f:
        for line in f:
            if line[:1] in "@#\n":
                continue
            *channels, label = line.strip().split(":")
            x = np.zeros((_STEPS, len(channels)), np.float32)
            for c, text in enumerate(channels):
                values = [float(v) for v in text.split(",") if v != "?"]
                x[: len(values), c] = values
            series.append(x)
            labels.append(int(label) - 1)
    return np.stack(series), np.array(labels)
