"""Models: Sequential, functional and subclassed."""
from .cloning import clone_model
from .functional import Functional
from .model import Model, model_from_json
from .sequential import Sequential

__all__ = ["Functional", "Model", "Sequential", "clone_model", "model_from_json"]
