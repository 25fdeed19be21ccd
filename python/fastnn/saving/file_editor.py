"""KerasFileEditor: look into a weights file, and change names and values in it."""
import os

import numpy as np

from .archive import Archive, open_regular
from .archive import WEIGHTS as _WEIGHTS
from .files import ModelFormatError, atomic_write
from .h5 import Dataset, open_h5, write_h5
from .state import _OWN, own_variables, walk


# Values that are packed, or were never written, may be larger than their file; Keras writes neither.
_MAX_PACKED = 64 << 20


class KerasFileEditor:
    """The weights of a `.keras` or `.weights.h5` file, which can be renamed, added, deleted, compared and saved.

    Args:
        filepath: path.

    Attributes:
        weights_dict: nested dict of the objects in the file, by the parts of their paths, with arrays at the ends.

    Raises:
        ValueError: the file is no such file, is damaged, or leads to others.

    Example:
        editor = KerasFileEditor("model.weights.h5")
        editor.summary()
        editor.rename_object("dense_3", "head")
        editor.save("renamed.weights.h5")
    """

    def __init__(self, filepath):
        path = os.fspath(filepath)
        if not path.endswith((".keras", ".weights.h5")):
            raise ValueError(f"[KerasFileEditor] filepath must end with .keras or .weights.h5. Received: filepath={filepath!r}")
        self._objects, self._packed = {}, 0
        with open_regular(path) as (file, size):
            if path.endswith(".keras"):
                archive = Archive(file, size, path)
                if _WEIGHTS not in archive:
                    raise ModelFormatError(f"[KerasFileEditor] the file must hold {_WEIGHTS}. Received: {path!r}")
                file = archive.open(_WEIGHTS)
            with open_h5(file, path) as root:
                self._read(root, "")

    def _read(self, group, path):
        for name, item in group.members.items():
            if isinstance(item, Dataset):
                owner = path[:-5] if path.endswith("/vars") else "" if path == "vars" else path
                self._packed += max(item.nbytes - item.stored, 0)
                if self._packed > _MAX_PACKED:
                    raise ModelFormatError("[KerasFileEditor] the weights must be in the file. "
                                           f"Received: {path}/{name} of shape {item.shape} in {item.stored} bytes")
                self._objects.setdefault(owner, {})[name] = item.read()
            elif not (path == "" and name == _OWN):
                self._read(item, f"{path}/{name}" if path else name)

    @property
    def weights_dict(self):
        """The weights as a nested dict."""
        result = {}
        for path, weights in self._objects.items():
            inner = result
            for part in path.split("/") if path else ():
                inner = inner.setdefault(part, {})
            inner.update(weights)
        return result

    # ---- looking ----

    def summary(self):
        """Prints the objects of the file, with the names, shapes and dtypes of their weights."""
        for path, weights in self._objects.items():
            print(path or "(the model itself)")
            for name, value in weights.items():
                print(f"    {name}: shape={value.shape}, dtype={value.dtype.name}")

    def compare(self, reference_model):
        """Compares the file with a model, prints the differences and counts them.

        Args:
            reference_model: Model that is built.

        Returns:
            {"status": "success"}, or {"status": "error", "error_count": int}; both with "match_count".
        """
        errors, matches, known = [], 0, set()
        for path, obj in walk(reference_model):
            expected = own_variables(obj)
            if not expected:
                continue
            known.add(path)
            weights = self._objects.get(path)
            if weights is None:
                errors.append(f"{path} is not in the file")
                continue
            for name, value in expected.items():
                if name not in weights:
                    errors.append(f"{path}: weight {name!r} is not in the file")
                elif tuple(weights[name].shape) != tuple(value.shape):
                    errors.append(f"{path}: weight {name!r} has shape {tuple(weights[name].shape)} in the file, "
                                  f"{tuple(value.shape)} in the model")
                else:
                    matches += 1
        errors += [f"{path} is not in the model" for path, weights in self._objects.items()
                   if weights and path not in known and not path.startswith("optimizer")]
        for text in errors:
            print(text)
        if errors:
            return {"status": "error", "error_count": len(errors), "match_count": matches}
        print("The file fits the model.")
        return {"status": "success", "match_count": matches}

    # ---- changing ----

    def _path_of(self, object_name):
        """The path of an object from its path, or from its end if only one object has that end."""
        if object_name in self._objects:
            return object_name
        found = [path for path in self._objects if path.split("/")[-1] == object_name]
        if len(found) != 1:
            raise ValueError(f"[KerasFileEditor] object_name must name one object of {list(self._objects)}. "
                             f"Received: object_name={object_name!r}")
        return found[0]

    def rename_object(self, object_name, new_name):
        """Renames an object, and with it those inside of it; the place of it stays."""
        path = self._path_of(object_name)
        if "/" in new_name:
            raise ValueError(f"[KerasFileEditor.rename_object] new_name must have no '/'. Received: new_name={new_name!r}")
        target = "/".join([*path.split("/")[:-1], new_name])
        if target in self._objects:
            raise ValueError(f"[KerasFileEditor.rename_object] {target!r} is in the file already")
        self._objects = {target + p[len(path):] if p == path or p.startswith(path + "/") else p: weights
                         for p, weights in self._objects.items()}

    def delete_object(self, object_name):
        """Takes an object away, and those inside of it."""
        path = self._path_of(object_name)
        self._objects = {p: w for p, w in self._objects.items() if p != path and not p.startswith(path + "/")}

    def add_object(self, object_path, weights):
        """Adds an object.

        Args:
            object_path: its path, such as "layers/dense_3".
            weights: dict from name ("0", "1", ...) to array.
        """
        if not isinstance(weights, dict):
            raise ValueError(f"[KerasFileEditor.add_object] weights must be a dict. Received: a {type(weights).__name__}")
        if object_path in self._objects:
            raise ValueError(f"[KerasFileEditor.add_object] {object_path!r} is in the file already")
        self._objects[object_path] = {name: np.asarray(value) for name, value in weights.items()}

    def add_weights(self, object_name, weights):
        """Adds weights, a dict from name to array, to an object, or replaces those of the same names."""
        if not isinstance(weights, dict):
            raise ValueError(f"[KerasFileEditor.add_weights] weights must be a dict. Received: a {type(weights).__name__}")
        self._objects[self._path_of(object_name)].update({name: np.asarray(value) for name, value in weights.items()})

    def delete_weight(self, object_name, weight_name):
        """Takes a weight away from an object."""
        weights = self._objects[self._path_of(object_name)]
        if weight_name not in weights:
            raise ValueError(f"[KerasFileEditor.delete_weight] weight_name must be one of {list(weights)}. "
                             f"Received: weight_name={weight_name!r}")
        del weights[weight_name]

    def save(self, filepath):
        """Writes the weights to a `.weights.h5` file, at once or not at all."""
        path = os.fspath(filepath)
        if not path.endswith(".weights.h5"):
            raise ValueError(f"[KerasFileEditor.save] filepath must end with .weights.h5. Received: filepath={filepath!r}")
        groups = ((f"{p}/vars" if p else "vars", {}, weights) for p, weights in self._objects.items())
        atomic_write(path, [write_h5(groups, checksum=True)])
