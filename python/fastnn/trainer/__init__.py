"""Training: what Model inherits compile, fit, evaluate and predict from."""
from .trainer import Trainer  # noqa: F401
