"""Which layers of a model are quantized."""
import re


def should_quantize_layer(layer, filters):
    """Whether a layer passes: None passes all, a regular expression or a list of them is searched in the layer's name,
    a function is asked."""
    if filters is None:
        return True
    if isinstance(filters, str):
        return bool(re.search(filters, layer.name))
    if isinstance(filters, (list, tuple)):
        return any(re.search(pattern, layer.name) for pattern in filters)
    return bool(filters(layer))
