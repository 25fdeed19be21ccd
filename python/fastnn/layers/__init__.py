"""Layers."""
from .input_spec import InputSpec
from .layer import Layer
