"""From a folder in another format to COCO files that pass the check, all of them or none."""

import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgd.data.coco import check
from fgd.data.mend import Report
from fgd.errors import FGDError
from fgd.files import write_json
from fgd.folders import atomic_folder
from fgd.importing import cvat, label_studio, labelme, voc, yolo
from fgd.importing.coco import classes_of, common_folder, content, sound_images, sound_objects
from fgd.importing.finding import NAMES, find
from fgd.importing.reading import LabelledImage, Source, folder_of
from fgd.importing.splits import SPLITS, split

RECORD = "import.json"  # what was done; an earlier import is known by it
_FILES = tuple(f"{name}.json" for name in SPLITS)


@dataclass(frozen=True)
class Request:
    """What to import, and how.

    Attributes:
        place: folder or file of the annotations.
        form: of `finding.NAMES`; None: what it looks like.
        images: folder of the images, where it is not found beside the annotations.
        classes: names in the order of the labels; None: the format's order, or by name.
        share: of the images that become validation images, where the source has none.
        seed: of the images that are drawn for that.
        first: of Pascal VOC, the coordinate of the first pixel; None: see `voc`.
        leave_out: import the rest where something cannot be imported.
    """

    place: Path
    form: str | None = None
    images: Path | None = None
    classes: Sequence[str] | None = None
    share: float = 0.2
    seed: int = 0
    first: int | None = None
    leave_out: bool = False


@dataclass
class Imported:
    """What came of it.

    Attributes:
        form: the format, by its name.
        images: the folder that the file names are relative to.
        counts: of each split, how many images and, by class, objects.
        report: what was read otherwise than it stands there.
        left_out: what could not be imported, by file and reason.
    """

    form: str
    images: Path
    report: Report
    left_out: list[str]
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def next_commands(self, out: Path) -> list[str]:
        """What to do with what was written to `out`: look at it, and write a row of it."""
        images = str(self.images)
        show = [".venv/bin/fgd", "data", "show", f"{out}/train.json", images, f"--out={out}.png"]
        row = [".venv/bin/fgd", "new-row"]
        for name in ("train", "val"):
            row += [f"--{name}={out}/{name}.json", f"--{name}-images={images}"]
        return [shlex.join(show), shlex.join(row)]


def import_annotations(request: Request, *, out: Path | None, overwrite: bool = False) -> Imported:
    """Write `train.json`, `val.json` and, if there is one, `test.json` to the folder `out`.

    Args:
        out: a folder that is new or empty; None only reports what would be written.
        overwrite: `out` may also hold an earlier import.

    Raises:
        FGDError: something cannot be imported, what is read is not what it should be, or `out`
            holds files. The message names the first files with their reasons.
    """
    if out is not None:
        _check_out(out, overwrite=overwrite)
    if not request.place.exists():
        raise FGDError(f"{request.place}: there is no such file or folder")
    if request.images is not None:
        folder_of(request.images, "--images names the folder of the images")
    form = request.form or find(request.place)
    source = _READERS[form](request)
    parts = split(source, request.share, request.seed)
    parts = {name: sound_images(source, images) for name, images in parts.items()}
    for images in parts.values():
        for image in images:
            image.objects = sound_objects(source, image)
    _refuse(request, source, parts)
    classes = classes_of(source, request.classes)
    root = common_folder([image for images in parts.values() for image in images])
    imported = Imported(NAMES[form], root, source.report, source.faults)
    info = {"imported": {"by": "fgd data import", "from": request.place.name, "format": form}}
    files = {f"{name}.json": content(parts[name], root, classes, info)
             for name in SPLITS if parts.get(name)}  # fmt: skip
    _write(out, files, imported, request)
    return imported


_READERS: dict[str, Callable[[Request], Source]] = {
    "voc": lambda r: voc.read(r.place, r.images, r.first),
    "yolo": lambda r: yolo.read(r.place, r.images, r.classes),
    "label-studio": lambda r: label_studio.read(r.place, r.images),
    "labelme": lambda r: labelme.read(r.place, r.images),
    "cvat": lambda r: cvat.read(r.place, r.images),
}


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Whether a folder may be written, or replaced: nothing in it is of anybody else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FGDError(f"{out}: is a file; --out is a folder")
    there = sorted(entry.name for entry in out.iterdir())
    if foreign := [name for name in there if name not in (RECORD, *_FILES)]:
        raise FGDError(f"{out}: holds {foreign[0]}; give a new or an empty folder")
    if there and not overwrite:
        raise FGDError(f"{out}: holds {there[0]} already; give --overwrite, or another folder")


def _refuse(request: Request, source: Source, parts: dict[str, list[LabelledImage]]) -> None:
    """Refuse what cannot be imported, unless it is to be left out and something remains."""
    faults = source.faults
    if faults and not request.leave_out:
        more = f" ({len(faults)} such faults; --leave-out --dry-run lists them)"
        raise FGDError(
            f"{faults[0]}{more if len(faults) > 1 else ''}. Correct the source, or give "
            "--leave-out to import the rest"
        )
    objects = sum(not item.crowd for images in parts.values() for image in images
                  for item in image.objects)  # fmt: skip
    for name in ("train", "val"):
        if not parts.get(name):
            few = "no class is on two images, of which one could be drawn"
            raise FGDError(
                f"{request.place}: has no image for {name}: {faults[0] if faults else few}"
            )
    if len(faults) > objects:
        raise FGDError(
            f"{request.place}: {len(faults)} faults and {objects} objects that can be imported: "
            f"that is no accident; first: {faults[0]}"
        )


def _write(out: Path | None, files: dict[str, Any], imported: Imported, request: Request) -> None:
    """Write all files, checked, or none; without `out` only check them."""
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            _fill(Path(folder), files, imported, request)
        return
    with atomic_folder(out, marker=RECORD, says="", others=_FILES) as folder:
        _fill(folder, files, imported, request)


def _fill(folder: Path, files: dict[str, Any], imported: Imported, request: Request) -> None:
    for name, value in files.items():
        path = folder / name
        path.write_text(json.dumps(value), encoding="utf-8")
        try:
            checked = check(path, imported.images, strict=True, all_categories=True)
        except FGDError as error:
            reason = str(error).replace(str(path), name)
            raise FGDError(f"{request.place}: what was read is not sound: {reason}") from error
        imported.counts[path.stem] = {k: checked[k] for k in ("images", "per_class", "crowds")}
    write_json(
        folder / RECORD,
        {
            "format": imported.form,
            "from": str(request.place),
            "images": str(imported.images),
            "counts": imported.counts,
            "seed": request.seed,
            "share": request.share,
            "read_otherwise": dict(imported.report.counts),
            "left_out": imported.left_out,
        },
    )
