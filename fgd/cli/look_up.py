"""Names and files that a command is given, looked up before it imports what takes long."""

from pathlib import Path

from fgd.errors import FGDError, suggestion

WEIGHTS = (".pth", ".pt", ".onnx", ".safetensors")


def detector(given: str, option: str) -> None:
    """Refuse a detector that is not there.

    Args:
        given: a name, or the path of an mmdet config.
        option: that names it, for an error.

    Raises:
        FGDError: there is none of that name, or no such file, or it is a checkpoint.
    """
    from fgd.zoo import detector_config

    path = Path(given)
    if path.suffix in WEIGHTS:
        raise FGDError(
            f"{option} {given}: is a checkpoint; expected a name of the model zoo (`fgd zoo "
            "search`) or a config (.py)"
        )
    if path.suffix != ".py":
        detector_config(given)
    elif not path.is_file():
        raise FGDError(f"{option} {given}: there is no such file")


def model(name: str) -> None:
    """Refuse a name that mmdet's model zoo does not have.

    Raises:
        FGDError: it does not; or it is the path of a config.
    """
    from fgd.zoo import search

    if name.endswith(".py") or "/" in name:
        raise FGDError(
            f"{name}: is a path, and models go by their names here (`fgd zoo search`); `fgd "
            "new-row` takes configs of one's own, and tells whether two go together"
        )
    if name not in (known := search("")):
        raise FGDError(f"mmdet's model zoo has no model {name!r}{suggestion(name, known)}")


def data_set(annotations: Path, images: Path) -> None:
    """Refuse a COCO-format data set of which a file or folder is missing.

    Raises:
        FGDError: one is, or is something else.
    """
    from fgd.data.annotations import check_layout
    from fgd.importing.finding import or_other_format

    with or_other_format(annotations):
        check_layout(annotations, images)
