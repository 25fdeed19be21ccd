"""Config: settings as attributes, that can be frozen."""
import json


class Config:
    """Settings under names: ``config.name`` and ``config["name"]``.

    Args:
        kwargs: the first settings.
    """

    def __init__(self, **kwargs):
        object.__setattr__(self, "_config", dict(kwargs))
        object.__setattr__(self, "_frozen", False)

    def freeze(self):
        """From now on settings cannot be changed."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self):
        """Take back `freeze`."""
        object.__setattr__(self, "_frozen", False)

    def _put(self, name, value):
        if self._frozen:
            raise ValueError(f"[Config] Cannot mutate attribute(s) because instance is frozen. Received: {name}={value!r}")
        self._config[name] = value

    def as_dict(self):
        """The settings as a dict (a copy)."""
        return dict(self._config)

    def to_json(self):
        """The settings as JSON text."""
        return json.dumps(self._config)

    def update(self, *args, **kwargs):
        """Set several at once, from a dict or keyword arguments."""
        for name, value in dict(*args, **kwargs).items():
            self._put(name, value)

    def keys(self):
        """The names, as of a dict."""
        return self._config.keys()

    def values(self):
        """The values, as of a dict."""
        return self._config.values()

    def items(self):
        """(name, value) pairs, as of a dict."""
        return self._config.items()

    def get(self, name, default=None):
        """The value of a name, or the default."""
        return self._config.get(name, default)

    def pop(self, name, *default):
        """Take one away and return it."""
        if self._frozen:
            raise ValueError(f"[Config] Cannot mutate attribute(s) because instance is frozen. Received: pop({name!r})")
        return self._config.pop(name, *default)

    def __getitem__(self, name):
        return self._config[name]

    def __setitem__(self, name, value):
        self._put(name, value)

    def __delitem__(self, name):
        self.pop(name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._config:
            raise AttributeError(f"[Config] has no setting {name!r}. Known: {sorted(self._config)}")
        return self._config[name]

    __setattr__ = __setitem__
    __delattr__ = __delitem__

    def __contains__(self, name):
        return name in self._config

    def __iter__(self):
        return iter(self._config)

    def __len__(self):
        return len(self._config)

    def __repr__(self):
        return f"<Config {self._config}>"
