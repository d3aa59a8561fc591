"""The size of an image is the one that training reads, whatever its format makes of EXIF."""

import struct
import zlib

import cv2
import mmcv
import pytest
from PIL import Image

from fgd.data import images
from fgd.data.images import look, size_of

ORIENTATION = 0x0112
# OpenCV 4 leaves a WebP as it is stored; OpenCV 5, which Python 3.13 has, turns it.
TURNS_WEBP = int(cv2.__version__.split(".")[0]) >= 5
FORMATS = ("jpg", "png", "webp", "tiff", "bmp")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def picture(size=(40, 20)):
    """White at its upper left, so that no two orientations look alike."""
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), (0, 0, 12, 5))
    return image


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def read(path):
    """What training gets: width and height, and whether the white is where it is stored."""
    image = mmcv.imread(path)
    return (image.shape[1], image.shape[0]), image[2, 5].min() > 200 > image[2, 17].max()


def kinds(path, size):
    return {finding.kind for finding in look(path, *size)}


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("form", FORMATS)
def test_its_size_is_that_of_training(tmp_path, form, orientation):
    path = tmp_path / f"image.{form}"
    picture().save(path, exif=exif(orientation))
    size, _ = read(path)
    assert size_of(path) == size
    assert not kinds(path, size) & {*images.REFUSED}
    assert kinds(path, size[::-1]) & {images.TURNED, images.OTHER_SIZE}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tiff"])
def test_an_orientation_is_counted_by_what_training_makes_of_it(tmp_path, form, orientation):
    path = tmp_path / f"image.{form}"
    picture().save(path, exif=exif(orientation))
    size, as_stored = read(path)
    assert as_stored == (orientation == 1 or (form == "webp" and not TURNS_WEBP))
    expected = {images.LEFT_AS_STORED if as_stored else images.TURNED_AS_STATED}
    assert kinds(path, size) == (set() if orientation == 1 else expected)


def test_boxes_of_the_other_way_round_are_refused_by_what_training_does(tmp_path):
    turned = "is 20 x 40 pixels once its EXIF orientation 6 is applied, as training"
    stored = "is 40 x 20 pixels as training reads it, without its EXIF orientation"
    for form in ("jpg", "tiff", "webp"):
        as_stored = form == "webp" and not TURNS_WEBP
        stated, words = ((20, 40), stored) if as_stored else ((40, 20), turned)
        path = tmp_path / f"image.{form}"
        picture().save(path, exif=exif(6))
        (finding,) = look(path, *stated)
        assert finding.kind == images.TURNED
        assert finding.reason.startswith(words)
        assert finding.reason.endswith(f"its boxes are those of {stated[0]} x {stated[1]}")


def chunk(kind, content):
    head = struct.pack(">I", len(content)) + kind + content
    return head + struct.pack(">I", zlib.crc32(kind + content))


def test_an_orientation_at_an_unusual_place_is_read_as_training_does(tmp_path):
    # Pillow finds both; OpenCV the one behind a PNG's pixels, and not the one in XMP.
    late, xmp = tmp_path / "late.png", tmp_path / "xmp.jpg"
    picture().save(late)
    content = late.read_bytes()
    end = content.rindex(b"IEND") - 4
    tags = exif(6).tobytes().removeprefix(b"Exif\0\0")
    late.write_bytes(content[:end] + chunk(b"eXIf", tags) + content[end:])
    picture().save(xmp, xmp=XMP)
    for path in (late, xmp):
        assert size_of(path) == read(path)[0]
    assert size_of(late) != size_of(xmp)
    assert kinds(xmp, (40, 20)) == {images.LEFT_AS_STORED}


def test_an_orientation_that_opencv_cannot_decode_is_unreadable(tmp_path):
    path = tmp_path / "image.tiff"
    picture().convert("F").save(path, exif=exif(6))
    assert mmcv.imread(path) is None
    assert size_of(path) is None
    (finding,) = look(path, 20, 40)
    assert finding.kind == images.UNREADABLE
    assert "OpenCV, with which training reads it, does not decode it" in finding.reason


def test_ordinary_images_are_not_decoded_for_their_size(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    for form in FORMATS:
        path = tmp_path / f"image.{form}"
        for tags in ({}, {"exif": exif(1)}):
            picture().save(path, **tags)
            assert size_of(path) == (40, 20)
            assert not look(path, 40, 20)
