"""TensorBoard: scalars and histograms of a training, written by tensorboardX."""
import os
import time

from .. import ops
from .callback import Callback
from .learning_rate import learning_rates


class TensorBoard(Callback):
    """Writes losses, metrics and learning rates for TensorBoard, in the folders `train` and `validation` of log_dir.

    Args:
        log_dir: path.
        histogram_freq: int; every so many epochs histograms of the weights, 0 for none.
        write_graph: accepted; graphs are not written.
        write_images: bool; with the histograms, weights of 2 axes as images.
        write_steps_per_second: bool; also the speed, for each epoch.
        update_freq: "epoch"; "batch" or an int n, also write the losses of every n-th batch.
        profile_batch: accepted; profiles are not written.
        embeddings_freq: int; every so many epochs the tables of embedding layers, 0 for none.
        embeddings_metadata: accepted.

    Raises:
        ImportError: tensorboardX is not installed.
        ValueError: update_freq is another word.
    """

    def __init__(self, log_dir="logs", histogram_freq=0, write_graph=True, write_images=False,
                 write_steps_per_second=False, update_freq="epoch", profile_batch=0, embeddings_freq=0,
                 embeddings_metadata=None):
        super().__init__()
        try:
            import tensorboardX  # noqa: F401  (a missing one is told now, not after the first epoch)
        except ImportError:
            raise ImportError("[TensorBoard] needs tensorboardX: pip install fastnn[tensorboard]") from None
        if update_freq not in ("epoch", "batch") and not (isinstance(update_freq, int) and update_freq > 0):
            raise ValueError("[TensorBoard] update_freq must be 'epoch', 'batch' or a positive integer. "
                             f"Received: update_freq={update_freq!r}")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq, self.embeddings_freq = histogram_freq, embeddings_freq
        self.write_graph, self.write_images = write_graph, write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self.profile_batch, self.embeddings_metadata = profile_batch, embeddings_metadata
        self._writers = {}
        self._step = self._first_step = self._epoch_start = 0

    def wants_batches(self, mode):
        return mode == "train" and isinstance(self.update_freq, int)

    def _writer(self, name):
        if name not in self._writers:
            from tensorboardX import SummaryWriter

            self._writers[name] = SummaryWriter(os.path.join(self.log_dir, name))
        return self._writers[name]

    def on_train_begin(self, logs=None):
        self._writer("train")
        self._step = self._iterations()

    def _iterations(self):
        return int(self.model.optimizer.iterations) if getattr(self.model, "optimizer", None) else 0

    def _collect_learning_rate(self, logs):
        if getattr(self.model, "optimizer", None) is not None:
            logs.update(learning_rates(self.model))
        return logs

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start, self._first_step = time.perf_counter(), self._iterations()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if isinstance(self.update_freq, int) and self._step % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar(f"batch_{name}", float(value), self._step)

    def on_test_end(self, logs=None):
        if getattr(self.model, "optimizer", None) and self._writers:
            for name, value in (logs or {}).items():
                self._writer("validation").add_scalar(f"evaluation_{name}_vs_iterations", float(value),
                                                      int(self.model.optimizer.iterations))

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            validation = name.startswith("val_")
            writer = self._writer("validation" if validation else "train")
            writer.add_scalar("epoch_" + name.removeprefix("val_"), float(value), epoch)
        for name, rate in self._collect_learning_rate({}).items():
            self._writer("train").add_scalar(f"epoch_{name}", rate, epoch)
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
            self._writer("train").add_scalar("epoch_steps_per_second", (self._iterations() - self._first_step) / seconds, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            for layer in self.model.layers:
                if hasattr(layer, "embeddings"):
                    self._writer("train").add_embedding(ops.convert_to_numpy(layer.embeddings), tag=layer.name,
                                                        global_step=epoch)
        for writer in self._writers.values():
            writer.flush()

    def _write_weights(self, epoch):
        for variable in self.model.weights:
            name, values = f"{variable.path}/histogram", variable.numpy()
            self._writer("train").add_histogram(name, values, epoch)
            if self.write_images and values.ndim == 2:
                low, high = values.min(), values.max()
                image = (values - low) / (high - low if high > low else 1)
                self._writer("train").add_image(f"{variable.path}/image", image[None], epoch)
