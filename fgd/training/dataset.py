"""The training set: from an index that a node has once, its images finished on the device."""

import logging
import os
import subprocess
import sys
from typing import Any

import torch.distributed as dist

from fgd.data.dataset import AnnotationFile, build
from fgd.data.index import find
from fgd.data.pixels import finish_on_device


def training_set(settings: dict[str, Any], logger: logging.Logger) -> Any:
    """mmdet's data set of a config, which gives the same samples.

    `fgd data check` writes the index; where nobody has, the first process of each node does. It
    does so in a process of its own, for what parsing a file of COCO's size takes, a process keeps.

    Args:
        settings: the config's `data.train`.
        logger: is told why there is no index, where there is none.
    """

    def prepare(file: AnnotationFile) -> None:
        if int(os.environ.get("LOCAL_RANK", 0)) == 0 and find(file.digest) is None:
            command = [sys.executable, "-m", "fgd.data.index", str(file.path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                ended = f"writing the annotations' index ended with status {done.returncode}"
                logger.warning("%s", done.stderr.strip() or ended)
        if dist.is_initialized():
            dist.barrier()

    dataset = build(settings, prepare)
    finish_on_device(dataset)
    return dataset
