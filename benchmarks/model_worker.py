"""One workload on one implementation in a process of its own:  python model_worker.py IMPLEMENTATION WORKLOAD THREADS

Implementations: fastnn, keras-tensorflow, keras-jax, torch, torch-compiled. Commands come as lines of
JSON, answers go the same way; models.py starts the workers and lets them take turns.
"""
import json
import os
import resource
import sys
import time

import numpy as np
from workloads import WORKLOADS

clock = time.perf_counter


def flatten(x):
    """The arrays of a list, a dict or one array, as a list."""
    return list(x.values()) if isinstance(x, dict) else list(x) if isinstance(x, (list, tuple)) else [x]


def pick(x, f):
    """f of each array, in the same structure."""
    return {k: f(v) for k, v in x.items()} if isinstance(x, dict) else [f(v) for v in x] if isinstance(x, list) else f(x)


class KerasLike:
    """fastnn or Keras: the same script."""

    def __init__(self, name, workload, threads):
        start = clock()
        if name == "fastnn":
            import fastnn as K

            K.set_num_threads(threads)
            self.version = f"fastnn {K.__version__} ({K.isa()})"
        else:
            os.environ["KERAS_BACKEND"] = name.split("-")[1]
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
            if name == "keras-tensorflow":
                import tensorflow as tf

                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            import keras as K

            self.version = f"Keras {K.__version__} on {name.split('-')[1]}"
        self.import_seconds = clock() - start
        build, data = WORKLOADS[workload]
        self.x, self.y, self.batch = data(np.random.default_rng(0))
        self.steps = -(-len(flatten(self.x)[0]) // self.batch)
        K.utils.set_random_seed(0)
        self.model = build(K)
        self.one = pick(self.x, lambda v: v[:1])

        class Clock(K.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.start = clock()

            def on_epoch_end(self, epoch, logs=None):
                self.seconds.append(clock() - self.start)

        self.clock = Clock()

    def first(self):
        """Seconds of the first training step, model built, and of the second epoch's first."""
        x, y = (pick(v, lambda a: a[: self.batch]) for v in (self.x, self.y))
        start = clock()
        self.model.fit(x, y, batch_size=self.batch, epochs=1, verbose=0)
        return clock() - start

    def step(self, seconds, epochs):
        """Seconds of one step, for each epoch that fits into `seconds`, and for `epochs` at least."""
        self.clock.seconds = []
        end = clock() + seconds
        while not self.clock.seconds or clock() < end:
            self.model.fit(self.x, self.y, batch_size=self.batch, epochs=epochs, verbose=0, callbacks=[self.clock])
        return [s / self.steps for s in self.clock.seconds]

    def kernels(self):
        """[(name, layer, operations, bytes, calls, seconds)] of one replayed training step; fastnn only."""
        from fastnn import profile

        x, y = (pick(v, lambda a: a[: self.batch]) for v in (self.x, self.y))
        run = lambda epochs: self.model.fit(x, y, batch_size=self.batch, epochs=epochs, verbose=0)  # noqa: E731
        start = clock()
        run(4)
        found, steps = {}, 8 if clock() - start < 1.0 else 3
        with profile() as p:
            run(steps)
        for name, layer, _, seconds, flops, size in p.events:
            found.setdefault((name, layer, flops, size), []).append(seconds)
        return [(*key, len(times) / steps, sorted(times)[len(times) // 2] * len(times) / steps) for key, times in found.items()]

    def predict(self):
        self.model.predict(self.x, batch_size=self.batch, verbose=0)

    def predict_one(self):
        self.model.predict(self.one, verbose=0)

    def call_one(self):
        np.asarray(flatten(self.model(self.one, training=False))[0])


class Torch:
    """A module and a hand-written loop."""

    def __init__(self, name, workload, threads):
        start = clock()
        import torch

        self.torch = torch
        self.import_seconds = clock() - start
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.version = f"torch {torch.__version__}" + (" compiled" if name == "torch-compiled" else "")
        from torch_models import MODELS

        x, y, self.batch = WORKLOADS[workload][1](np.random.default_rng(0))
        make, self.loss, optimizer = MODELS[workload]
        self.images = flatten(x)[0].ndim == 4
        self.x, self.y = ([torch.from_numpy(v) for v in flatten(a)] for a in (x, y))
        if self.images:  # Keras's (n, h, w, c) is torch's channels last
            self.x = [v.permute(0, 3, 1, 2) for v in self.x]
        self.single = not isinstance(y, (list, dict))
        self.steps = -(-len(self.x[0]) // self.batch)
        self.module = make()
        if self.images:
            self.module = self.module.to(memory_format=torch.channels_last)
        self.optimizer = optimizer(self.module.parameters())
        self.run = torch.compile(self.module) if name == "torch-compiled" else self.module
        self.one = [v[:1] for v in self.x]

    def _train(self, index):
        xs, ys = [v[index] for v in self.x], [v[index] for v in self.y]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.run(*xs), ys[0] if self.single else ys)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def first(self):
        self.module.train()
        start = clock()
        self._train(self.torch.arange(self.batch)).item()
        return clock() - start

    def step(self, seconds, epochs):
        self.module.train()
        times, end = [], clock() + seconds
        while len(times) < epochs or clock() < end:
            start = clock()
            order, total = self.torch.randperm(len(self.x[0])), 0.0
            for i in range(0, len(order), self.batch):
                total = total + self._train(order[i:i + self.batch])
            total.item()
            times.append((clock() - start) / self.steps)
        return times

    def predict(self):
        self.module.eval()
        with self.torch.inference_mode():
            for i in range(0, len(self.x[0]), self.batch):
                self.run(*[v[i:i + self.batch] for v in self.x])

    def call_one(self):
        with self.torch.inference_mode():
            self.run(*self.one)

    predict_one = call_one


class Worker:
    def __init__(self, name, workload, threads):
        self.side = (Torch if name.startswith("torch") else KerasLike)(name, workload, int(threads))

    def describe(self):
        return {"version": self.side.version, "import": self.side.import_seconds}

    def first(self):
        return self.side.first()

    def step(self, seconds, epochs):
        return self.side.step(seconds, epochs)

    def repeat(self, what, seconds):
        """Seconds of one call of predict, predict_one or call_one, sampled for about `seconds`."""
        if hasattr(self.side, "module"):
            self.side.module.eval()
        call, times = getattr(self.side, what), []
        start = clock()
        for _ in range(3):
            call()
            if clock() - start > seconds:  # a long call is warm sooner
                break
        end = clock() + seconds
        while not times or clock() < end:
            start = clock()
            call()
            times.append(clock() - start)
        return [t / (self.side.steps if what == "predict" else 1) for t in times]

    def kernels(self):
        return self.side.kernels()

    def memory(self):
        """Peak of the process, MB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = None
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            if worker is None:
                worker = Worker(*sys.argv[1:])
            answer = {"ok": getattr(worker, command)(*arguments)}
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
