"""The device that code runs on."""


class device:
    """A `with` block on a device. "cpu", "cpu:0" and None are known here.

    Raises:
        ValueError: there is no such device.
    """

    def __init__(self, device_name):
        name = "cpu" if device_name is None else str(device_name).lower().lstrip("/").removeprefix("device:")
        if name.split(":")[0] != "cpu":
            raise ValueError(f"[device] there is no such device; this build computes on the CPU. Received: {device_name!r}")
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
