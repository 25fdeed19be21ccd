"""A worker in a process of its own, which answers commands, lines of JSON, one at a time."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# Without these each large result of a peer would be fresh memory, and its page faults its time.
PEER_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 34), "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 26)}


def die_with_parent():
    """Run in a child: it ends when its parent does, however that ended and even while it is stopped. Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def busy_neighbour():
    """A context beside which another process keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=die_with_parent)
    try:
        time.sleep(0.3)
        yield
    finally:
        process.kill()
        process.wait()


class Process:
    """A worker that is running. One that has ended, for want of memory, say, starts again with the next command.

    Args:
        name: of the implementation; "fastnn" is not a peer.
        command: the program and its arguments, run in this folder.
        threads: how many it may use.
        environment: variables to set; they come last.
    """

    def __init__(self, name, command, threads, environment=None):
        self.name = name
        environment = environment or {}
        env = {**os.environ, **{f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")},
               **(PEER_ENVIRONMENT if name != "fastnn" else {}), **environment}
        if name != "fastnn" and "OPENBLAS_CORETYPE" not in environment:
            env.pop("OPENBLAS_CORETYPE", None)  # OpenBLAS chooses its kernels itself
            env.pop("OPENBLAS_L2_SIZE", None)
        self._start = lambda: subprocess.Popen(command, env=env, cwd=HERE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                               stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.process = self._start()

    def ask(self, *command):
        """The worker's answer; None where it cannot do this, failed or is gone."""
        if self.process.poll() is not None:
            self.process = self._start()
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        except (BrokenPipeError, ValueError) as e:
            answer = {"error": str(e)}
        if "error" in answer:
            print(f"  {self.name}: {answer['error']}", file=sys.stderr)
        return answer.get("ok")

    # Threads of some libraries spin for a while after their work is done: they would take a core from the next one.
    def pause(self):
        if hasattr(signal, "SIGSTOP"):
            self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        if hasattr(signal, "SIGCONT"):
            self.process.send_signal(signal.SIGCONT)

    def turn(self, *command):
        """The answer of a paused worker, which is paused again."""
        self.resume()
        try:
            return self.ask(*command)
        finally:
            self.pause()

    def close(self):
        self.resume()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
