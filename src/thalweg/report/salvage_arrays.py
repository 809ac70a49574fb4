"""Files of arrays that may be damaged or hostile: checked by reading, within bounds, nothing unpickled or executed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from thalweg.report.salvage_text import ordinary, size_text

__all__ = ["check_arrays", "check_model"]

MOST_READ = 256 << 20  # bytes unpacked of one file: a second's work
_MOST_ARRAYS = 64  # in an archive; a run's has 8 at most
_MOST_HEADER = 16 << 20  # bytes of a model file's header; a class name takes some 10
_CHUNK = 1 << 20
# What NumPy writes before an array of plain numbers. Read as text: `numpy.load` would evaluate it as Python.
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z][0-9]{0,3})', 'fortran_order': (?:False|True), 'shape': \(([0-9, ]*)\), \}\s*"
)
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def check_arrays(path: Path, needed: tuple[str, ...]) -> str:
    """Return what an archive of arrays holds, in words.

    Raises an exception of some class, whose message says what is wrong, where it is damaged: the archive's list,
    an array's header, its length or its checksum, or where one of ``needed`` is missing.
    """
    with ordinary(path) as file:
        _check_list(file)
        with zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            missing = [name for name in needed if name not in members]
            if missing:
                raise ValueError(f"there is no array {', '.join(missing)}")
            left, shapes = MOST_READ, {}
            for name, member in members.items():
                with archive.open(member) as content:
                    shapes[name], left = _check_array(name, content, member.file_size, left)
    told = ", ".join(f"{name} {' × '.join(map(str, shape)) or '1'}" for name, shape in shapes.items())
    unread = "" if left > 0 else f"; beyond {size_text(MOST_READ)} it was not checked"
    return f"arrays {told}{unread}"


def _check_list(file: IO[bytes]) -> None:
    """Raise unless the list at an archive's end is there, and short: zipfile reads it whole, however long it is."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))  # the end record and the longest comment
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise ValueError("it is cut off: an archive ends with a list of what is in it")
    count, length = struct.unpack_from("<HI", tail, at + 10)
    if b"PK\6\7" in tail[:at] or count > _MOST_ARRAYS or length > _CHUNK:
        raise ValueError(f"it holds more than {_MOST_ARRAYS} arrays, or is too large to be checked here")
    file.seek(0)


def _check_array(name: str, content: IO[bytes], size: int, left: int) -> tuple[tuple[int, ...], int]:
    """Check one array, and return its shape and how many bytes may still be read."""
    start = content.read(10)
    if start[:6] != b"\x93NUMPY" or len(start) < 10 or start[6] not in (1, 2):
        raise ValueError(f"{name} is no array")
    rest = content.read(2) if start[6] == 2 else b""
    length = int.from_bytes(start[8:10] + rest, "little")
    found = _HEADER.fullmatch(content.read(min(length, 4096)).decode("latin-1"))
    if found is None:
        raise ValueError(f"{name} is no array of numbers, or its header is damaged")
    dtype, shape = np.dtype(found[1]), tuple(int(part) for part in found[2].split(",") if part.strip())
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never read")
    if len(start) + len(rest) + length + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} is not as long as its header says")
    # To the end of it, where zipfile compares the checksum.
    while left > 0 and (chunk := content.read(_CHUNK)):
        left -= len(chunk)
    return shape, left


def check_model(path: Path, version: int = 1) -> str:
    """Return what a model file holds, in words.

    Raises an exception of some class where it is damaged or of another format: its header, the places of its
    arrays, the digest of their numbers (`artifacts.model_file` writes it).
    """
    with ordinary(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER):
            raise ValueError("it is cut off: it is shorter than its header")
        header = json.loads(file.read(length))
        about = json.loads(header.pop("__metadata__")["thalweg"])
        if about["format"] != version:
            raise ValueError(f"it has format {str(about['format'])[:20]}, this version reads {version}")
        # Laid end to end: places that overlap could let a small file be read a million times.
        end = sum(_length(tensor) for tensor in header.values())
        if 8 + length + end != size:
            raise ValueError(f"its arrays take {end:,} bytes, and there are {size - 8 - length:,}")
        if size > MOST_READ:
            return f"{len(header)} arrays; as it is over {size_text(MOST_READ)} its numbers were not checked"
        numbers = file.read()
    if "digest" in about and about["digest"] != _digest(header, numbers):
        raise ValueError("its numbers are not those that were written")
    return f"{len(header)} arrays"


def _length(tensor: dict[str, Any]) -> int:
    start, end = (int(place) for place in tensor["data_offsets"])
    if not 0 <= start <= end:
        raise ValueError("the place of an array runs backwards")
    return end - start


def _digest(header: dict[str, Any], numbers: bytes) -> str:
    """Return the digest of the arrays, as a model file's metadata has it."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(header):
        tensor = header[name]
        start, end = tensor["data_offsets"]
        digest.update(f"{name} {_DTYPES[tensor['dtype']]} {tuple(tensor['shape'])}\n".encode())
        digest.update(numbers[start:end])
    return digest.hexdigest()
