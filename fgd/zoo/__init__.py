"""Where teachers and backbones come from: mmdet's model zoo, and what a suite publishes itself.

`index` finds a model by its name, `publish` files a trained one as the zoo has its own, `gate`
measures whether a teacher is the published one.
"""

from fgd.zoo.index import (
    COCO,
    ZooModel,
    backbone_address,
    detector_config,
    find,
    hash_of,
    metafiles,
    models,
    search,
    zoo_config,
)

__all__ = [
    "COCO",
    "ZooModel",
    "backbone_address",
    "detector_config",
    "find",
    "hash_of",
    "metafiles",
    "models",
    "search",
    "zoo_config",
]
