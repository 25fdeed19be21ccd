"""Layers."""
from .input_spec import InputSpec
from .input_layer import Input, InputLayer
from .layer import Layer
