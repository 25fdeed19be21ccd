"""Arguments, their order and defaults, and the names that strings stand for, are those of Keras 3.

The stored tables hold all of Keras; what fastnn has of it is compared.
"""

import inspect
import operator

import pytest

import fastnn as keras
from fixtures import Fixtures

SIGNATURES = Fixtures("signatures")
# Arguments of Keras that fastnn does not have: features of other parts, or of Keras's own make.
WITHOUT = {
    "stateless_metrics",
}  # fmt: skip


_OTHERS = "wraps models of another library"
_FILES = "a part of reading and writing files"
# What Keras shows and fastnn does not have, with the reason.
MISSING = {
    "layers": {
        **dict.fromkeys(("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"), _OTHERS),
    },
    "callbacks": {"BackupAndRestore": _FILES, "OrbaxCheckpoint": "writes files of another library"},
    "models": dict.fromkeys(("load_model", "save_model"), _FILES),
    "utils": {
    },
}


def default(text):
    """(2, 2) and 2 are one default: both are made the same."""
    value = None if text is None else text.strip("()").split(", ")
    return text if value is None or len(set(value)) > 1 else value[0]


def difference(ours, expected):
    """What a call that is right for Keras would find different, or None."""
    expected = [(name, default(text)) for name, text in expected if name not in WITHOUT]
    named = [p for p in ours.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    found = [(p.name, None if p.default is p.empty else default(repr(p.default))) for p in named]
    for (name, value), (wanted, wanted_value) in zip(found, expected):
        if name != wanted:
            return f"has {name} in place of {wanted}"
        if wanted_value is not None and value != wanted_value:
            return f"{name}={value}, not {wanted_value}"
    if len(found) < len(expected):
        return f"lacks {[name for name, _ in expected[len(found) :]]}"
    required = [name for name, value in found[len(expected) :] if value is None]
    return f"also requires {required}" if required else None


@pytest.mark.parametrize("module", SIGNATURES.names())
def test_arguments(module):
    ours = operator.attrgetter(module)(keras)
    table = SIGNATURES.spec(module)["arguments"]
    present = [n for n in table if hasattr(ours, n) and not inspect.ismodule(getattr(ours, n))]
    assert present
    found = {n: difference(inspect.signature(getattr(ours, n)).parameters, table[n]) for n in present}
    assert {n: text for n, text in found.items() if text} == {}


@pytest.mark.parametrize("module", [m for m in SIGNATURES.names() if m[0].islower() and "." not in m or m.startswith("ops.")])
def test_all_names(module):
    """A name is missing only for a stated reason, and a reason goes when the name comes."""
    ours = operator.attrgetter(module)(keras)
    missing = {n for n in SIGNATURES.spec(module)["arguments"] if not hasattr(ours, n)}
    late = {n for n, why in MISSING.get(module, {}).items() if why is not _FILES}
    assert late <= missing <= set(MISSING.get(module, {}))


@pytest.mark.parametrize("module", [m for m in SIGNATURES.names() if SIGNATURES.spec(m)["identifiers"]])
def test_identifiers(module):
    get = getattr(keras, module).get
    known = getattr(keras, module)
    for identifier, name in SIGNATURES.spec(module)["identifiers"].items():
        if hasattr(known, name):
            found = get(identifier)
            assert getattr(found, "__name__", type(found).__name__) == name, identifier
