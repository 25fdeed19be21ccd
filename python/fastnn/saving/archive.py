"""`.keras` files: a zip with config.json, metadata.json and model.weights.h5, read in memory only.

Ours are stored, with a checksum of each member in metadata.json and one of the whole file in the zip's comment.
"""
import contextlib
import hashlib
import io
import os
import stat
import struct
import zipfile

from .files import ModelFormatError

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets/"
LIMITS = {CONFIG: 16 << 20, METADATA: 1 << 20}
_COMMENT = b"fastnn sha256 "
_MAX_DIRECTORY = 1 << 20  # bytes of the list of members
_MAX_PACKED = 64 << 20  # of a member that is compressed: Keras stores
_MAX_ASSETS = 1 << 30
_PIECE = 4 << 20


# ---- writing -------------------------------------------------------------------------------------------


class _Sink:
    """What zipfile writes to; the bytes wait to be taken."""

    def __init__(self):
        self.parts, self.position = [], 0

    def write(self, data):
        self.parts.append(bytes(data))
        self.position += len(data)
        return len(data)

    def tell(self):
        return self.position

    def flush(self):
        pass

    def take(self):
        parts, self.parts = self.parts, []
        return b"".join(parts)


def zip_chunks(members):
    """Yields the bytes of a zip.

    Args:
        members: iterable of (name, bytes-like).
    """
    sink, digest = _Sink(), hashlib.sha256()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)  # of a fixed date: equal models give equal files
            info.external_attr = 0o644 << 16
            view = memoryview(data).cast("B")
            with archive.open(info, "w", force_zip64=len(view) > 1 << 31) as file:
                for start in range(0, len(view), _PIECE):
                    file.write(view[start:start + _PIECE])
                    chunk = sink.take()
                    digest.update(chunk)
                    yield chunk
        archive.comment = _COMMENT + b"0" * 64
    end = sink.take()[:-64]
    digest.update(end)
    yield end + digest.hexdigest().encode()


# ---- reading -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_regular(path):
    """A binary file object and its size, of a regular file; it is opened once.

    Raises:
        OSError: it cannot be opened.
        ModelFormatError: it is not a regular file.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise ModelFormatError(f"[load] must be a regular file. Received: {os.fspath(path)!r}")
        yield file, info.st_size


class Archive:
    """The members of a `.keras` file that was found sound.

    Args:
        file: seekable binary file object.
        size: bytes of the file.
        path: for messages.

    Raises:
        ModelFormatError: it is not a zip, is damaged, or is not what a `.keras` file is.
    """

    def __init__(self, file, size, path):
        self.path, self._file = path, file
        self.whole = _check_whole(file, size, path)
        try:
            self._check_directory(size)
            file.seek(0)
            self._zip = zipfile.ZipFile(file)
            self._members = self._checked_members(size)
        except ModelFormatError:
            raise
        except Exception as error:  # zipfile raises what it likes on damaged files
            raise self._error(f"must be a sound zip: {error}") from None

    def _error(self, text):
        return ModelFormatError(f"[load_model] the file {text}. Received: {self.path!r}")

    def _check_directory(self, size):
        """The end record, before zipfile makes an object of every member."""
        tail_size = min(size, 66_000)
        self._file.seek(size - tail_size)
        tail = self._file.read(tail_size)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < 22:
            raise self._error("must be a zip")
        directory = struct.unpack_from("<I", tail, at + 12)[0]
        if directory == 0xFFFFFFFF or directory > _MAX_DIRECTORY:
            raise self._error("must have few members")

    def _checked_members(self, size):
        members, ranges = {}, []
        for info in self._zip.infolist():
            name = info.filename
            if name in members:
                raise self._error(f"must have each member once, not twice {name!r}")
            if name not in (CONFIG, METADATA, WEIGHTS) and not _is_asset(name):
                raise self._error(f"must consist of {CONFIG}, {METADATA}, {WEIGHTS} and assets, without {name!r}")
            if info.flag_bits & 0x1:
                raise self._error("must not be encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self._error(f"must be stored or deflated, not packed as {info.compress_type}")
            stored = info.compress_type == zipfile.ZIP_STORED
            limit = LIMITS.get(name, size if stored else _MAX_PACKED)
            if info.file_size > limit or (stored and info.file_size != info.compress_size):
                raise self._error(f"must have at most {limit} bytes of {name!r}, not {info.file_size}")
            members[name] = info
            ranges.append((info.header_offset, info.header_offset + 30 + info.compress_size))
        ranges.sort()
        if any(end > start for (_, end), (start, _) in zip(ranges, ranges[1:])) or (ranges and ranges[-1][1] > size):
            raise self._error("must not have members that overlap")
        if CONFIG not in members:
            raise self._error(f"must have a {CONFIG}")
        return members

    def __contains__(self, name):
        return name in self._members

    def size(self, name):
        """Bytes of a member."""
        return self._members[name].file_size

    def read(self, name):
        """The bytes of a member."""
        info = self._members[name]
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size + 1)
        except Exception as error:
            raise self._error(f"must hold {name!r} undamaged: {error}") from None
        if len(data) != info.file_size:
            raise self._error(f"must hold as many bytes of {name!r} as it says")
        return data

    def open(self, name):
        """A seekable file object for a member; a stored one is not copied."""
        info = self._members[name]
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(self.read(name))
        try:
            self._file.fileno()
        except OSError:  # in memory
            return io.BytesIO(self.read(name))
        self._file.seek(info.header_offset)
        header = self._file.read(30)
        if len(header) != 30 or header[:4] != b"PK\3\4":
            raise self._error(f"must hold {name!r} where it says")
        start = info.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
        if start + info.file_size > os.fstat(self._file.fileno()).st_size:
            raise self._error(f"must hold all of {name!r}")
        window = Window(self._file.fileno(), start, info.file_size)
        if not self.whole:
            self._check_crc(window, info)
        return window

    def _check_crc(self, window, info):
        import zlib

        crc = 0
        while chunk := window.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
        if crc != info.CRC:
            raise self._error(f"is damaged: {info.filename!r} does not have its checksum")
        window.seek(0)

    def check_digests(self, digests):
        """Compares members with the SHA-256 digests of metadata.json, unless the whole file was compared."""
        if self.whole or not isinstance(digests, dict):
            return
        for name, expected in digests.items():
            if name in self._members:
                digest, file = hashlib.sha256(), self.open(name)
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                if digest.hexdigest() != expected:
                    raise self._error(f"is damaged: {name!r} does not have its checksum")

    def assets(self, path):
        """{name: bytes} of the assets of the layer at `path`."""
        prefix = f"{ASSETS}{path}/" if path else ASSETS
        names = [name for name in self._members if name.startswith(prefix) and "/" not in name[len(prefix):] and name != prefix]
        if sum(self._members[name].file_size for name in names) > _MAX_ASSETS:
            raise self._error(f"must have at most {_MAX_ASSETS} bytes of assets")
        return {name[len(prefix):]: self.read(name) for name in names}


def _is_asset(name):
    if not name.startswith(ASSETS) or "\\" in name or "\0" in name:
        return False
    return all(part not in (".", "..") for part in name.split("/")) and "//" not in name


def _check_whole(file, size, path):
    """True for an undamaged file of ours, False for a file of others."""
    length = len(_COMMENT) + 64
    if size < length:
        return False
    file.seek(size - length)
    end = file.read(length)
    if not end.startswith(_COMMENT):
        return False
    file.seek(0)
    digest, left = hashlib.sha256(), size - 64
    while left:
        chunk = file.read(min(left, 1 << 20))
        if not chunk:
            break
        digest.update(chunk)
        left -= len(chunk)
    if digest.hexdigest().encode() != end[-64:]:
        raise ModelFormatError(f"[load_model] the file is damaged: it does not have its checksum. Received: {path!r}")
    return True


class Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, fd, start, size):
        self._fd, self._start, self._size, self._at = fd, start, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        view = memoryview(buffer).cast("B")
        view = view[:max(0, min(len(view), self._size - self._at))]
        count = os.preadv(self._fd, [view], self._start + self._at) if len(view) else 0
        self._at += count
        return count
