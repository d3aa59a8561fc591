"""What a detector predicts, read off its mmdet model config."""

# The head behind each kind of AP, in the order of mmdet's results.
_HEADS = {"box": "bbox_head", "mask": "mask_head"}


def heads(model: dict) -> dict[str, dict]:
    """A detector's head by the kind of its predictions, "box" and "mask".

    Faster R-CNN has the first, Mask R-CNN both, SOLO the second alone. Of a cascade's heads it is
    the first stage's. A Mask2Former for instances says in its panoptic head what it tells apart.
    """
    panoptic = model.get("panoptic_head")
    if panoptic and panoptic.get("num_stuff_classes") == 0:
        return dict.fromkeys(_HEADS, panoptic | {"num_classes": panoptic.get("num_things_classes")})
    parent = model.get("roi_head") or model
    found = {kind: parent[key] for kind, key in _HEADS.items() if parent.get(key)}
    return {kind: head[0] if isinstance(head, list) else head for kind, head in found.items()}


def number_of_classes(model: dict) -> int | None:
    """How many classes a model's heads tell apart; None for one without, such as an RPN alone."""
    return next(iter(heads(model).values()), {}).get("num_classes")
