"""Decoding: every format, every pixel mode, one size, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from datafiles import class_files, images, png, write_folder, write_zip
from PIL import Image

from thalweg.data import images as module
from thalweg.data import load
from thalweg.errors import DataError, UsageError


def folder(tmp_path: Path, *encoded: bytes, suffix: str = ".png") -> Path:
    """One class folder for all images but the first, which stands in a class before it."""
    files = {f"{'a' if i == 0 else 'b'}/{i}{suffix}": data for i, data in enumerate(encoded)}
    return write_folder(tmp_path / f"d{len(list(tmp_path.iterdir()))}", files)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header tells of a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        ("PNG", ".png", {}),
        ("BMP", ".bmp", {}),
        ("PPM", ".ppm", {}),
        ("TIFF", ".tif", {}),
        ("TIFF", ".tiff", {"compression": "tiff_lzw"}),
        ("WEBP", ".webp", {"lossless": True}),
        ("PNG", ".PNG", {}),
        ("PNG", "", {}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_come_back_exactly(
    tmp_path: Path, kind: str, suffix: str, options: dict, channels: int
) -> None:
    pixels = images(3, channels=channels)
    data = load(folder(tmp_path, *(png(image, kind, **options) for image in pixels), suffix=suffix))
    if kind == "WEBP":  # it knows no grayscale
        pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    assert data.train.features.dtype == np.uint8
    np.testing.assert_array_equal(data.train.features, pixels)


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    encoded = [png(image, "JPEG", quality=70) for image in images(3, 16, 24)]
    data = load(folder(tmp_path, *encoded, suffix=".jpg"))
    np.testing.assert_array_equal(
        data.train.features, [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded]
    )


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    data = load(folder(tmp_path, gif, gif, suffix=".gif"))
    assert np.unique(data.train.features).tolist() == [10]


def test_one_colour_image_makes_all_of_them_rgb(tmp_path: Path) -> None:
    gray, colour = images(3, channels=1), images(1, seed=1)
    data = load(folder(tmp_path, *map(png, gray), *map(png, colour), png(gray[0])))
    assert data.feature_shape == (5, 4, 3)
    np.testing.assert_array_equal(data.train.features[:3], np.repeat(gray, 3, axis=3))
    np.testing.assert_array_equal(data.train.features[3], colour[0])
    np.testing.assert_array_equal(data.train.features[4], np.repeat(gray[0], 3, axis=2))


def test_one_bit_images_are_gray(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    data = load(folder(tmp_path, encode(bits, "PNG"), encode(bits, "PNG")))
    assert data.train.features[0, :, :, 0].tolist() == [[0, 255], [255, 0]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    rgba = Image.fromarray(pixels)
    data = load(folder(tmp_path, encode(rgba, "PNG"), encode(rgba, "PNG")))
    assert data.train.features[0].tolist() == [[[10, 20, 30], [255, 255, 255]]]
    gray = Image.fromarray(np.array([[[100, 0], [100, 255]]], np.uint8))
    assert gray.mode == "LA"
    data = load(folder(tmp_path, encode(gray, "PNG"), encode(gray, "PNG")))
    assert data.train.features[0].tolist() == [[[255], [100]]]


def test_palettes_and_print_colours_become_rgb(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    data = load(folder(tmp_path, encode(palette, "PNG"), encode(palette, "PNG", transparency=0)))
    assert data.train.features.tolist() == [[[[255, 0, 0], [0, 0, 255]]], [[[255, 255, 255], [0, 0, 255]]]]
    cmyk = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    data = load(folder(tmp_path, encode(cmyk, "TIFF"), encode(cmyk, "TIFF"), suffix=".tif"))
    assert data.train.features[0, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_the_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: int) -> None:
    pixels = images(1, 6, 6)[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = png(pixels, "PNG", exif=exif)
    data = load(folder(tmp_path, turned, turned))
    np.testing.assert_array_equal(data.train.features[0], np.rot90(pixels, turn))


def test_the_size_after_orientation_is_what_must_agree(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    tall, wide = images(1, 6, 4)[0], images(1, 4, 6)[0]
    assert load(folder(tmp_path, png(tall), png(wide, "PNG", exif=exif))).feature_shape == (6, 4, 3)
    with pytest.raises(DataError, match="images differ in size"):
        load(folder(tmp_path, png(tall), png(tall, "PNG", exif=exif)))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pixels_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    deep = encode(Image.fromarray(np.ones((5, 4), kind)), "TIFF")
    with pytest.raises(DataError, match=rf"'b/1.tif': has 16-bit or float pixels \(mode {mode}"):
        load(folder(tmp_path, png(images(1)[0]), deep, suffix=".tif"))


def test_sizes_must_agree_and_the_first_two_that_differ_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path, png(images(1, 5, 4)[0]), png(images(1, 5, 4)[0]), png(images(1, 7, 3)[0]))
    with pytest.raises(DataError, match=r"'a/0.png' is 5 × 4.*'b/2.png' is 7 × 3.*image_size"):
        load(path)
    data = load(path, image_size=(3, 2))
    assert data.train.features.shape == (3, 3, 2, 3)
    assert load(path, image_size=6).feature_shape == (6, 6, 3)


def test_resizing_is_pillows_bilinear(tmp_path: Path) -> None:
    pixels = images(2, 9, 8)
    data = load(folder(tmp_path, *map(png, pixels)), image_size=(4, 5))
    expected = [np.asarray(Image.fromarray(p).resize((5, 4), Image.Resampling.BILINEAR)) for p in pixels]
    np.testing.assert_array_equal(data.train.features, expected)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "header only"])
def test_a_corrupt_image_is_named_or_skipped_and_listed(tmp_path: Path, damage: str) -> None:
    good = [png(image) for image in images(4, 40, 40)]
    bad = {"empty": b"", "text": b"not an image", "cut": good[2][: len(good[2]) // 2], "header only": good[2][:30]}
    files = {"a/0.png": good[0], "a/1.png": good[1], "b/2.png": bad[damage], "b/3.png": good[3]}
    path = write_zip(tmp_path / "d.zip", files)
    with pytest.raises(DataError, match=r"image 'b/2.png'.*(skip_bad|not one of)"):
        load(path)
    data = load(path, skip_bad=True)
    assert [one.name for one in data.skipped] == ["b/2.png"]
    assert data.skipped[0].reason
    assert str(path) not in data.skipped[0].reason
    assert data.train.names == ("a/0.png", "a/1.png", "b/3.png")
    assert data.train.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(data.train.features, images(4, 40, 40)[[0, 1, 3]])


def test_a_bad_first_image_does_not_fix_the_size(tmp_path: Path) -> None:
    files = {"a/0.png": b"bad", "a/1.png": png(images(1)[0]), "b/0.png": png(images(1)[0])}
    assert len(load(write_folder(tmp_path / "d", files), skip_bad=True).train) == 2


def test_a_class_of_nothing_but_bad_images_is_an_error(tmp_path: Path) -> None:
    path = folder(tmp_path, png(images(1)[0]), b"bad", b"worse")
    with pytest.raises(DataError, match="every image of class 'b' is unreadable"):
        load(path, skip_bad=True)
    with pytest.raises(DataError, match="none of its 2 images can be read"):
        load(folder(tmp_path, b"bad", b"worse"), skip_bad=True)


@pytest.mark.parametrize("size", [(8001, 8000), (2**31 - 1, 2**31 - 1), (20_000, 20_000)])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = folder(tmp_path, png(images(1)[0]), png(images(1)[0]), bomb(*size))
    with pytest.raises(DataError, match=r"'b/2.png'.*bomb"):
        load(path)
    assert [one.name for one in load(path, skip_bad=True).skipped] == ["b/2.png"]
    with pytest.raises(DataError, match=r"'b/2.png'.*bomb"):
        load(path, image_size=8)


def test_the_pixel_limit_is_ours_to_set(tmp_path: Path) -> None:
    path = folder(tmp_path, *map(png, images(2, 5, 4)))
    assert len(load(path, max_pixels=20).train) == 2
    with pytest.raises(DataError, match="5 × 4 pixels are over the limit of 19"):
        load(path, max_pixels=19)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_pixels": 0},
        {"max_pixels": 2.5},
        {"image_size": (3,)},
        {"image_size": (0, 3)},
        {"image_size": "ab"},
        {"image_size": (9000, 9000)},
        {"image_size": 2.5},
        {"image_size": True},
        {"label": 3},
    ],
)
def test_arguments_are_checked(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(UsageError):
        load(folder(tmp_path, *map(png, images(2))), **arguments)


def test_formats_outside_the_list_are_refused(tmp_path: Path) -> None:
    """Pillow alone would read these, some with code that few others exercise."""
    for kind in ("TGA", "PCX", "ICO", "SGI"):
        with pytest.raises(DataError, match="not one of JPEG"):
            load(folder(tmp_path, png(images(1)[0]), png(images(1)[0], kind)))


def test_large_images_are_decoded_in_threads_to_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, pixels = class_files({"a": 20, "b": 20})
    path = write_zip(tmp_path / "d.zip", {**files, "b/bad.png": b"bad"})
    here = load(path, skip_bad=True)
    monkeypatch.setattr(module, "_POOL_BYTES", 0)
    monkeypatch.setattr(module, "_cores", lambda: 4)
    there = load(path, skip_bad=True)
    assert there.fingerprint() == here.fingerprint()
    assert there.train.names == here.train.names
    for row, name in enumerate(there.train.names):
        np.testing.assert_array_equal(there.train.features[row], pixels[name])
    with pytest.raises(DataError, match=r"'b/bad.png'"):
        load(path)
    write_zip(tmp_path / "e.zip", {**files, "b/20.png": png(images(1, 9, 9)[0])})
    with pytest.raises(DataError, match=r"'a/0.png' is 5 × 4.*'b/20.png' is 9 × 9"):
        load(tmp_path / "e.zip")


def test_more_pixels_than_memory_is_an_error_before_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(tmp_path, *map(png, images(2)))
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(DataError, match=r"need .* GiB, this machine has"):
        load(path)
