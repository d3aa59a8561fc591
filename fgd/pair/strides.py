"""At which strides a detector gives features, read off its mmdet model config."""


def level_strides(model: dict) -> list[int] | None:
    """Pixels of the image between two places of each neck output, from the finest level.

    None for a neck that this function does not know.
    """
    neck = model["neck"]
    if neck["type"] == "FPN":
        return [4 * 2 ** (neck.get("start_level", 0) + level) for level in range(neck["num_outs"])]
    if neck["type"] == "YOLOXPAFPN":
        return [8 * 2**level for level in range(len(neck["in_channels"]))]
    return None
