"""RemoteMonitor: sends the results of each epoch to a server."""
import json

import numpy as np

from ..utils.warning import warn
from .callback import Callback


class RemoteMonitor(Callback):
    """Posts the logs of each epoch to a server; one that does not answer gives a warning.

    Args:
        root: address of the server. path: where to post to.
        field: name of the form's field that holds the JSON.
        headers: dict of HTTP headers.
        send_as_json: bool; post the JSON itself as application/json.
    """

    def __init__(self, root="http://localhost:9000", path="/publish/epoch/end/", field="data", headers=None,
                 send_as_json=False):
        super().__init__()
        self.root, self.path, self.field = root, path, field
        self.headers = dict(headers or {})
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch, logs=None):
        import urllib.error
        import urllib.parse
        import urllib.request  # brings ssl, which takes longer to import than all other callbacks

        send = {"epoch": epoch}
        for name, value in (logs or {}).items():
            value = np.asarray(value)
            send[name] = value.item() if value.ndim == 0 else value.tolist()
        text = json.dumps(send)
        headers = dict(self.headers)
        if self.send_as_json:
            body = text.encode()
            headers.setdefault("Content-Type", "application/json")
        else:
            body = urllib.parse.urlencode({self.field: text}).encode()
        request = urllib.request.Request(self.root + self.path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10):
                pass
        except (urllib.error.URLError, OSError):
            warn(f"[RemoteMonitor] Could not reach RemoteMonitor root server at {self.root}")
