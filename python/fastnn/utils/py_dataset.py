"""PyDataset: batches by number."""
import itertools


class PyDataset:
    """Base of data sources that make their batches one by one.

    Subclasses write ``__len__``, the number of batches, or the property ``num_batches``, which may be None for data without
    end, and ``__getitem__(i)``, which returns (x, y) or (x, y, sample_weight). ``on_epoch_begin`` and ``on_epoch_end`` may be written too.

    Args:
        workers: threads that make batches ahead of their use when above 1.
        use_multiprocessing: accepted for Keras's sake; NumPy and fastnn run without the interpreter's lock,
            so threads serve.
        max_queue_size: batches made ahead at most.
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index):
        """Batch number ``index``; subclasses write it."""
        raise NotImplementedError(f"[{type(self).__name__}] must have __getitem__(index)")

    @property
    def num_batches(self):
        """The number of batches of an epoch, or None without end."""
        return len(self) if hasattr(self, "__len__") else None

    def __iter__(self):
        """The batches in order, as many as there are."""
        n = self.num_batches
        for i in itertools.count() if n is None else range(n):
            yield self[i]

    def on_epoch_begin(self):
        """Called before every epoch."""

    def on_epoch_end(self):
        """Called after every epoch."""
