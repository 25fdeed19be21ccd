"""Bad inputs: each raises a clear error in a process that goes on, or gives the stated result.

A row is (code, expected): expected is "ok", or "ErrorType: words that the message must contain".
Code runs in a worker process (wrong_use_worker.py); a crash or a hang fails the row.
"""
import json
import pathlib
import select
import subprocess
import sys

import pytest

from wrong_use_rows import ROWS

WORKER = pathlib.Path(__file__).with_name("wrong_use_worker.py")


class Worker:
    def __init__(self):
        self.process = None

    def run(self, code, timeout=30):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([sys.executable, str(WORKER)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            status = self.process.wait()
            self.process = None
            pytest.fail("the process hung" if not ready else f"the process died with status {status}")
        return json.loads(line)

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(10)


@pytest.fixture(scope="module")
def worker():
    w = Worker()
    yield w
    w.close()


@pytest.mark.parametrize("code,expected", ROWS, ids=lambda v: v[:90].replace("\n", "; ") if isinstance(v, str) else None)
def test_wrong_use(worker, code, expected):
    answer = worker.run(code)
    kind, _, words = expected.partition(": ")
    assert answer["type"] in kind.split("|"), answer.get("trace", "no error was raised")
    for word in words.split(" & ") if words else ():
        assert word in answer["message"], answer["message"]
    # An impossible size must be refused before anything is tried; generous, machines are shared.
    assert answer["seconds"] < 10
