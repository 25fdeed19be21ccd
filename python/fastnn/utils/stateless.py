"""Running code with other values in its variables."""
import contextlib


@contextlib.contextmanager
def substituted(variables, values):
    """Context in which variables hold other values; on leaving they get their own back."""
    before = [v.value for v in variables]
    try:
        for variable, value in zip(variables, values):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)
