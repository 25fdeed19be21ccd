"""get_file: files from elsewhere in a folder of the user's, checked and unpacked; and the parts it is made of."""
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile

from .messages import print_msg
from .warning import warn

_CHUNK = 1 << 20


def path_to_string(path):
    """A path object as a string; anything else as it is."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def resolve_path(path):
    """The absolute path, with symbolic links followed."""
    return os.path.realpath(path)


def resolve_sub_path(base_dir, relative_path):
    """The absolute path of what lies at ``relative_path`` inside ``base_dir``; None if that is outside of it."""
    base = resolve_path(base_dir)
    path = resolve_path(os.path.join(base, relative_path))
    return path if os.path.commonpath([base, path]) == base else None


def is_link_in_dir(info, base_dir):
    """Whether both a link in an archive and what it points to lie inside a folder."""
    if resolve_sub_path(base_dir, info.name) is None:
        return False
    start = os.path.dirname(os.path.join(base_dir, info.name)) if info.issym() else base_dir
    return resolve_sub_path(base_dir, os.path.join(start, info.linkname)) is not None


def _inside(name, base_dir):
    # A link that is unpacked first could turn `a/..` into another folder than it looks.
    return ".." not in name.replace("\\", "/").split("/") and resolve_sub_path(base_dir, name) is not None


def filter_safe_zipinfos(members, base_dir):
    """The members of a zip file that stay inside ``base_dir``; a warning for each other one."""
    for member in members:
        if _inside(member.filename, base_dir):
            yield member
        else:
            warn(f"Skipping invalid path during archive extraction: '{member.filename}'.")


def filter_safe_tarinfos(members, base_dir):
    """The members of a tar file that stay inside ``base_dir``, links with their targets; a warning for each other one."""
    for member in members:
        link = member.issym() or member.islnk()
        if _inside(member.name, base_dir) and (not link or is_link_in_dir(member, base_dir)):
            yield member
        else:
            warn(f"Skipping invalid path during archive extraction: '{member.name}'.")


def extract_archive(file_path, path=".", archive_format="auto"):
    """Unpack a tar (also .gz, .bz2, .xz) or zip file; nothing is written outside of ``path``.

    Args:
        file_path: of the archive. path: folder to unpack into.
        archive_format: "tar", "zip", a list of them, "auto" for both, or None for neither.

    Returns:
        Whether the file was such an archive.
    """
    formats = {"auto": ("tar", "zip"), None: ()}.get(archive_format) if not isinstance(archive_format, list) else archive_format
    formats = (archive_format,) if formats is None else formats
    file_path, path = path_to_string(file_path), path_to_string(path)
    for kind in formats:
        is_kind = tarfile.is_tarfile if kind == "tar" else zipfile.is_zipfile
        if is_kind(file_path):
            _unpack(kind, file_path, path)
            return True
    return False


def _unpack(kind, file_path, path):
    new = not os.path.exists(path)
    try:
        if kind == "zip":
            with zipfile.ZipFile(file_path) as archive:
                archive.extractall(path, members=list(filter_safe_zipinfos(archive.infolist(), path)))
            return
        with tarfile.open(file_path) as archive:
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(path, members=list(filter_safe_tarinfos(archive.getmembers(), path)), **safe)
    except BaseException:  # also Ctrl-C: half an archive is not left behind
        if new:
            shutil.rmtree(path, ignore_errors=True)
        raise


def resolve_hasher(algorithm, file_hash=None):
    """A new hasher: SHA-256 for "sha256", or for "auto" with a hash of 64 digits; else MD5."""
    sha = algorithm == "sha256" or algorithm == "auto" and file_hash is not None and len(file_hash) == 64
    return hashlib.sha256() if sha else hashlib.md5(usedforsecurity=False)


def hash_file(fpath, algorithm="sha256"):
    """The hash of a file's bytes, in hexadecimal digits."""
    hasher = resolve_hasher(algorithm) if isinstance(algorithm, str) else algorithm
    with open(fpath, "rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def validate_file(fpath, file_hash, algorithm="auto"):
    """Whether a file has this hash."""
    return hash_file(fpath, resolve_hasher(algorithm, file_hash)) == str(file_hash)


def get_file(fname=None, origin=None, untar=False, md5_hash=None, file_hash=None, cache_subdir="datasets",
             hash_algorithm="auto", extract=False, archive_format="auto", cache_dir=None, force_download=False):
    """The path of a file in the cache, fetched from ``origin`` where it is not there yet.

    Args:
        fname: name in the cache; by default the last part of ``origin``.
        origin: address, "https://...", "http://..." or "file:///...".
        untar: the same as ``extract`` with the format "tar".
        md5_hash, file_hash: hexadecimal digits that the file must have, MD5 or SHA-256. A file in the cache that has others
            is fetched again.
        cache_subdir: folder inside of ``cache_dir``, or an absolute path.
        hash_algorithm: "md5", "sha256", or "auto" to tell by the length.
        extract: also unpack the file, see `extract_archive`; the path is that of the folder then.
        archive_format: "auto", "tar", "zip" or None.
        cache_dir: folder; by default KERAS_HOME from the environment, else ~/.keras.
        force_download: fetch it in any case.

    Raises:
        ValueError: there is no origin, ``fname`` is a path, or the file has another hash.
        OSError: the origin cannot be read; the message tells where to put the file by hand.
    """
    if origin is None:
        raise ValueError('[get_file] Please specify the "origin" argument (URL of the file to download). Received: origin=None')
    file_hash, hash_algorithm = (md5_hash, "md5") if file_hash is None and md5_hash is not None else (file_hash, hash_algorithm)
    given = fname is not None
    name = path_to_string(fname) if given else os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name or os.path.basename(name) != name:
        raise ValueError(f"[get_file] fname must be the name of a file, without folders. Received: fname={fname!r}, origin={origin!r}")
    home = cache_dir or os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    folder = os.path.join(path_to_string(home), cache_subdir)
    os.makedirs(folder, exist_ok=True)
    target, unpacked = os.path.join(folder, name), None
    if extract or untar:
        unpacked = target
        if given and "." in name:
            unpacked = os.path.join(folder, name.partition(".")[0] + "_extracted")
        else:
            target += "_archive"
    known = os.path.exists(target) and not force_download
    if known and file_hash is not None and not validate_file(target, file_hash, hash_algorithm):
        print_msg(f"The file in the cache does not have the {hash_algorithm} hash {file_hash}: it is fetched again.")
        known = False
    if not known:
        _fetch(origin, target, file_hash, hash_algorithm)
    if unpacked is None:
        return target
    if not extract_archive(target, unpacked, "tar" if untar else archive_format):
        warn(f"Could not extract archive: {target} is neither of archive_format={archive_format!r}.")
    return unpacked


def _fetch(origin, target, file_hash, hash_algorithm):
    """Write what is at ``origin`` into ``target``, whole and with the right hash, or not at all."""
    print_msg(f"Downloading data from {origin}")
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".fetching-")
    try:
        try:
            with os.fdopen(handle, "wb") as out, urllib.request.urlopen(origin, timeout=60) as source:
                shutil.copyfileobj(source, out, _CHUNK)
        except OSError as error:  # URLError and HTTPError are OSErrors
            raise OSError(f"[get_file] URL fetch failure on {origin}: {error}. Without a network, put the file here: {target}") from error
        if file_hash is not None and not validate_file(temporary, file_hash, hash_algorithm):
            raise ValueError(f"[get_file] Incomplete or corrupted file detected: its {hash_algorithm} hash must be {file_hash}. "
                             f"Received: {origin}")
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
