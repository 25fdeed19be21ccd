"""Data sets of the files of a folder, one subfolder for each class."""
import os

import numpy as np

from .dataset import Dataset
from .image_utils import img_to_array, load_img
from .messages import print_msg

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def _index(name, directory, labels, endings, class_names, follow_links):
    """(paths, numbers of classes or None, names of classes)."""
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        raise ValueError(f"[{name}] directory must exist. Received: directory={directory!r}")
    if labels != "inferred" and labels is not None and not isinstance(labels, (list, tuple)):
        raise ValueError(f'[{name}] `labels` argument should be a list/tuple of integer labels, of the same size as the number '
                         f'of files in the target directory. If you wish to infer the labels from the subdirectory names, '
                         f'pass `labels="inferred"`; if you wish to get a dataset without any labels, pass `labels=None`. '
                         f"Received: labels={labels}")
    folders = [""]
    if labels == "inferred":
        found = sorted(d for d in os.listdir(directory) if os.path.isdir(os.path.join(directory, d)))
        if class_names is not None and sorted(class_names) != found:
            raise ValueError(f"[{name}] The `class_names` passed did not match the names of the subdirectories of the target "
                             f"directory. Expected: {found}, but received: {list(class_names)}")
        folders = list(class_names or found)
    elif class_names is not None:
        raise ValueError(f'[{name}] You can only pass `class_names` if `labels="inferred"`. Received: labels={labels}')
    paths, numbers = [], []
    for number, folder in enumerate(folders):
        for root, inner, files in os.walk(os.path.join(directory, folder), followlinks=follow_links):
            inner.sort()
            for file in sorted(files):
                if file.lower().endswith(endings):
                    paths.append(os.path.join(root, file))
                    numbers.append(number)
    if not paths:
        kind = {"image": "images", "text": "text files", "audio": "audio files"}[name.partition("_")[0]]
        raise ValueError(f"[{name}] No {kind} found in directory {directory}. Allowed formats: {endings}")
    if isinstance(labels, (list, tuple)):
        if len(labels) != len(paths):
            raise ValueError(f"[{name}] Expected the lengths of `labels` to match the number of files in the target "
                             f"directory. len(labels) is {len(labels)} while we found {len(paths)} files.")
        numbers, folders = list(labels), [str(v) for v in sorted(set(labels))]
    return paths, None if labels is None else numbers, None if labels is None else folders


class FileDataset(Dataset):
    """Batches of files, read when they are asked for.

    Attributes:
        file_paths: the paths, in order. class_names: names of the classes, or None.
    """

    def __init__(self, paths, labels, class_names, read, batch_size, shuffle, seed):
        super().__init__()
        self.file_paths, self.class_names = paths, class_names
        self._labels, self._read, self._batch_size = labels, read, batch_size
        self._rng = np.random.default_rng(seed) if shuffle else None
        self._order = np.arange(len(paths))
        self.on_epoch_end()

    def on_epoch_end(self):
        """Another order for the next epoch."""
        if self._rng is not None:
            self._rng.shuffle(self._order)

    def __len__(self):
        return len(self.file_paths) if self._batch_size is None else -(-len(self.file_paths) // self._batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"[FileDataset] the index must be below {len(self)}. Received: {index}")
        if self._batch_size is None:
            i = self._order[index]
            x = self._read([self.file_paths[i]])[0]
            return x if self._labels is None else (x, self._labels[i])
        rows = self._order[index * self._batch_size:(index + 1) * self._batch_size]
        x = self._read([self.file_paths[i] for i in rows])
        return x if self._labels is None else (x, self._labels[rows])


def _dataset(name, directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset,
             follow_links, endings, read, verbose):
    modes = ("int", "categorical", "binary", None)
    if label_mode not in modes:
        raise ValueError(f"[{name}] `label_mode` argument must be one of {modes}. Received: label_mode={label_mode}")
    if labels is None or label_mode is None:
        labels = label_mode = None
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(f"[{name}] `validation_split` must be between 0 and 1, received: {validation_split}")
    if subset is not None and not validation_split:
        raise ValueError(f"[{name}] `validation_split` must be set where `subset` is. Received: subset={subset}, "
                         f"validation_split={validation_split}")
    if validation_split and subset is None:
        raise ValueError(f"[{name}] If `validation_split` is set, `subset` must be set as well. Received: subset=None, "
                         f"validation_split={validation_split}")
    if subset not in ("training", "validation", "both", None):
        raise ValueError(f'[{name}] `subset` must be either "training", "validation" or "both", received: {subset}')
    if validation_split and shuffle and seed is None:
        raise ValueError(f"[{name}] If using `validation_split` and shuffling the data, you must provide a `seed` argument, to "
                         "make sure that there is no overlap between the training and validation subset.")
    paths, numbers, names = _index(name, directory, labels, endings, class_names, follow_links)
    if label_mode == "binary" and len(names) != 2:
        raise ValueError(f'[{name}] When passing `label_mode="binary"`, there must be exactly 2 class_names. '
                         f"Received: class_names={names}")
    if seed is None and shuffle:
        seed = int(np.random.randint(1e6))
    if shuffle:
        order = np.random.default_rng(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        numbers = None if numbers is None else [numbers[i] for i in order]
    values = numbers
    if label_mode == "int":
        values = np.asarray(numbers, "int32")
    elif label_mode == "binary":
        values = np.asarray(numbers, "float32")[:, None]
    elif label_mode == "categorical":
        values = np.eye(len(names), dtype="float32")[np.asarray(numbers)]
    if verbose:
        print_msg(f"Found {len(paths)} files" + ("." if names is None else f" belonging to {len(names)} classes."))

    def part(rows):
        if not paths[rows]:
            raise ValueError(f"[{name}] there must be files for every subset. Received: {len(paths)} files, "
                             f"validation_split={validation_split}")
        return FileDataset(paths[rows], None if values is None else values[rows], names, read, batch_size, shuffle, seed)

    if subset is None:
        return part(slice(None))
    cut = len(paths) - int(validation_split * len(paths))
    if verbose:
        for part_name, count in (("training", cut), ("validation", len(paths) - cut)):
            if subset in (part_name, "both"):
                print_msg(f"Using {count} files for {part_name}.")
    if subset == "both":
        return part(slice(None, cut)), part(slice(cut, None))
    return part(slice(None, cut) if subset == "training" else slice(cut, None))


def image_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, color_mode="rgb",
                                 batch_size=32, image_size=(256, 256), shuffle=True, seed=None, validation_split=None,
                                 subset=None, interpolation="bilinear", follow_links=False, crop_to_aspect_ratio=False,
                                 pad_to_aspect_ratio=False, data_format=None, format="tf", verbose=True):
    """Batches of the images in a folder.

    Args:
        directory: with a subfolder for each class, where labels are "inferred".
        labels: "inferred", a list of ints in the order of the sorted paths, or None.
        label_mode: "int", "categorical" (one-hot), "binary" (floats) or None, no labels.
        class_names: the names of the subfolders, in the order of their numbers; sorted by default.
        color_mode: "grayscale", "rgb" or "rgba".
        batch_size: int; None gives single images.
        image_size: (height, width) that all are resized to.
        shuffle: bool; a new order for each epoch.
        seed: int, of the order and of the split.
        validation_split, subset: part of the files that is for validation, and which part is wanted: "training",
            "validation" or "both".
        interpolation: see `ops.image.resize`.
        follow_links: bool; go into linked folders.
        crop_to_aspect_ratio, pad_to_aspect_ratio: keep the proportions.
        data_format: of the images.
        format: accepted for Keras's sake; the result is a PyDataset in any case.
        verbose: bool; print the number of files.

    Returns:
        A PyDataset of float32 images (batch, height, width, channels), or of pairs (images, labels), with the attributes
        `class_names` and `file_paths`; two of them for "both".

    Raises:
        ValueError: the folder has no images, or arguments do not go together.
    """
    from ..ops import image

    name = "image_dataset_from_directory"
    if color_mode not in ("rgb", "rgba", "grayscale"):
        raise ValueError(f'[{name}] `color_mode` must be one of {{"rgb", "rgba", "grayscale"}}. Received: {color_mode}')
    if format not in ("tf", "grain"):
        raise ValueError(f"[{name}] format must be 'tf' or 'grain'. Received: format={format!r}")
    size = tuple(image_size)

    def read(paths):
        found = []
        for path in paths:
            x = img_to_array(load_img(path, color_mode), data_format=data_format, dtype="float32")
            found.append(np.array(image.resize(x, size, interpolation, False, crop_to_aspect_ratio, pad_to_aspect_ratio,
                                               data_format=data_format)))
        return np.stack(found)

    return _dataset(name, directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset,
                    follow_links, _IMAGES, read, verbose)


def text_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, batch_size=32,
                                max_length=None, shuffle=True, seed=None, validation_split=None, subset=None,
                                follow_links=False, format="tf", verbose=True):
    """Batches of the .txt files in a folder: arrays of strings, for `TextVectorization`.

    Args:
        max_length: int; longer texts are cut to as many characters.
        others: see `image_dataset_from_directory`.
        directory: path; with labels, one folder per class in it.
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset, follow_links, verbose:
            see `image_dataset_from_directory`.
        format: accepted for Keras's sake.
    """
    def read(paths):
        found = []
        for path in paths:
            with open(path, encoding="utf-8") as f:
                found.append(f.read(-1 if max_length is None else max_length))
        return np.array(found, dtype=object)

    return _dataset("text_dataset_from_directory", directory, labels, label_mode, class_names, batch_size, shuffle, seed,
                    validation_split, subset, follow_links, (".txt",), read, verbose)


def audio_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, batch_size=32,
                                 sampling_rate=None, output_sequence_length=None, ragged=False, shuffle=True, seed=None,
                                 validation_split=None, subset=None, follow_links=False, verbose=True):
    """Batches of the 16-bit .wav files in a folder: float32 (batch, samples, channels) in [-1, 1].

    Args:
        sampling_rate: int; files of another rate raise.
        output_sequence_length: int, samples; files are cut or filled with zeros. The longest of a batch by default.
        ragged: False; there are no ragged tensors.
        others: see `image_dataset_from_directory`.
        directory: path; with labels, one folder per class in it.
        labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset, follow_links, verbose:
            see `image_dataset_from_directory`.
    """
    import wave

    name = "audio_dataset_from_directory"
    if ragged and output_sequence_length is not None:
        raise ValueError(f"[{name}] Cannot set both `ragged` and `output_sequence_length`")
    if sampling_rate is not None and not isinstance(sampling_rate, int):
        raise ValueError(f"[{name}] `sampling_rate` should have an integer value. Received: sampling_rate={sampling_rate}")
    if sampling_rate is not None and sampling_rate <= 0:
        raise ValueError(f"[{name}] `sampling_rate` should be higher than 0. Received: sampling_rate={sampling_rate}")
    if ragged:
        raise ValueError(f"[{name}] ragged must be False: there are no ragged tensors")

    def samples(path):
        with wave.open(path, "rb") as f:
            if f.getsampwidth() != 2 or (sampling_rate is not None and f.getframerate() != sampling_rate):
                raise ValueError(f"[{name}] files must have 16 bits, and the sampling_rate asked for. Received: {path}: "
                                 f"{8 * f.getsampwidth()} bits, {f.getframerate()} Hz")
            data = np.frombuffer(f.readframes(f.getnframes()), "<i2").reshape(-1, f.getnchannels())
        return data.astype("float32") / 32768

    def read(paths):
        found = [samples(path) for path in paths]
        length = output_sequence_length or max(len(x) for x in found)
        channels = {x.shape[1] for x in found}
        if len(channels) > 1:
            raise ValueError(f"[{name}] all files must have as many channels. Received: {sorted(channels)}")
        return np.stack([np.pad(x[:length], ((0, max(length - len(x), 0)), (0, 0))) for x in found])

    return _dataset(name, directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split, subset,
                    follow_links, (".wav",), read, verbose)
