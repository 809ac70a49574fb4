"""Small data sets written by code of its own, for the readers to read back."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def images(count: int, height: int = 5, width: int = 4, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def png(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, kind, **options)
    return buffer.getvalue()


def class_files(
    layout: dict[str, int], seed: int = 0, channels: int = 3
) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """{"train/cat": 3, ...} → ({"train/cat/0.png": bytes}, {"train/cat/0.png": pixels})."""
    pixels = images(sum(layout.values()), channels=channels, seed=seed)
    files, arrays, row = {}, {}, 0
    for folder, count in layout.items():
        for i in range(count):
            name = f"{folder}/{i}.png"
            files[name], arrays[name] = png(pixels[row]), pixels[row]
            row += 1
    return files, arrays


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes], folders: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in folders:
            file.writestr(folder + "/", b"")
        for name, data in files.items():
            file.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], folders: tuple[str, ...] = ()) -> Path:
    mode = {"gz": "w:gz", "tgz": "w:gz", "xz": "w:xz", "bz2": "w:bz2"}.get(path.name.rpartition(".")[2], "w")
    with tarfile.open(path, mode) as file:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            file.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def idx(array: np.ndarray) -> bytes:
    """An IDX file by its definition: 0, 0, type, dimensions; sizes; entries. All big-endian."""
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def cifar_records(pixels: np.ndarray, *labels: np.ndarray) -> bytes:
    """Records of label bytes, then the red, the green and the blue plane."""
    out = bytearray()
    for i, image in enumerate(pixels):
        out += bytes(int(column[i]) for column in labels)
        for channel in range(3):
            out += image[:, :, channel].tobytes()
    return bytes(out)
