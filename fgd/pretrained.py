"""The weights that parts of a detector start from, as its config names them.

Most parts have the file's names for their tensors. A few backbones of mmdet read the file of the
project that published them, and convert it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

BACKBONE = "backbone"
# Where a part of a config is in the built detector, if not at the path that it has in the config.
_MODULES = {"neck.rfp_backbone": r"neck\.rfp_modules\.\d+"}
# Tensors that a file may lack and be right; any other has to be there.
_MAY_LACK = (
    # Batch norm counts its batches only since torch 0.4.1, and other frameworks' weights have no
    # count either: it starts at torch's 0.
    r".*\.num_batches_tracked",
    # A deformable convolution's offsets: classifiers have plain convolutions. They start at mmcv's
    # 0, as a plain convolution.
    r".*\.conv_offset\.(weight|bias)",
    # What DetectoRS adds to a plain ResNet: its convolutions' means and deviations, of the weights
    # that were read, their second rate, and where features are fed back.
    r".*\.(weight_diff|weight_gamma|weight_beta)",
    r".*\.(switch|pre_context|post_context|rfp_conv)\.(weight|bias)",
)


class _Reader(NamedTuple):
    """How a backbone's class reads its file itself, past mmcv's initialisation.

    Attributes:
        converter: mmdet's function that turns the original project's names into its own.
        converts: whether it does if the config says nothing (`convert_weights`).
        prefix: of the tensors that it takes then.
        may_lack: tensors that the original project's model does not have.
    """

    converter: str
    converts: bool
    prefix: str
    may_lack: tuple[str, ...]


_PVT = _Reader("pvt_convert", True, "", ())
# A norm for each output, where a classifier has one, of the last.
_SWIN = _Reader("swin_converter", False, "backbone.", (r"norm\d+\.(weight|bias)",))
_READERS = {
    "PyramidVisionTransformer": _PVT,
    "PyramidVisionTransformerV2": _PVT,
    "SwinTransformer": _SWIN,
}


@dataclass(frozen=True)
class Part:
    """A part of a model that starts from weights.

    Attributes:
        path: of the part in the model's config, for example "backbone".
        config: of the part.
    """

    path: str
    config: Any

    @property
    def checkpoint(self) -> str:
        """The file or address of the weights."""
        where, key = self._where()
        return where.get(key)

    def start_from(self, file: str) -> None:
        """Name another file in the config."""
        where, key = self._where()
        where[key] = file

    def start_from_scratch(self) -> None:
        """Name none in the config."""
        self.config["pretrained" if self._where()[1] == "pretrained" else "init_cfg"] = None

    def _where(self) -> tuple[Any, str]:
        # A few classes of mmdet have an argument of their own for it.
        own = isinstance(self.config.get("pretrained"), str)
        return (self.config, "pretrained") if own else (self.config["init_cfg"], "checkpoint")

    def inside(self, name: str) -> str | None:
        """The part's own name for a tensor of the detector; None for one of another part."""
        module = _MODULES.get(self.path, re.escape(self.path))
        match = re.fullmatch(rf"{module}\.(.+)", name)
        return match and match[1]

    def may_lack(self, inside: str) -> bool:
        """Whether the file may be without a tensor, which then keeps the value of its class."""
        reader = _READERS.get(self.config.get("type"))
        patterns = _MAY_LACK + (reader.may_lack if reader else ())
        return any(re.fullmatch(pattern, inside) for pattern in patterns)

    def read(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A file's tensors by the part's own names, as the part gets them.

        mmcv's PretrainedInit takes `prefix` for the part of a larger model that it loads; without
        one it drops the `module.` of a model that was saved inside its data-parallel wrapper.

        Args:
            state: the file's state dict, as it was saved.
        """
        reader = _READERS.get(self.config.get("type"))
        if reader is not None and self._converts(reader):
            from mmdet.models.utils import ckpt_convert

            state = getattr(ckpt_convert, reader.converter)(state)
        prefix = self._prefix()
        if prefix or reader is not None:
            return _below(prefix, state)
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}

    def as_saved(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A file's tensors that this part would read as its own: for a file of one's own making.

        Args:
            state: tensors by the part's names.
        """
        reader = _READERS.get(self.config.get("type"))
        if reader is None or not self._converts(reader):
            return {f"{self._prefix()}{name}": tensor for name, tensor in state.items()}
        # Converters leave mmdet's own names alone, but for one of Swin's.
        return {
            name.replace("patch_embed.projection.", "patch_embed.proj."): t
            for name, t in state.items()
        }

    def _converts(self, reader: _Reader) -> bool:
        return self.config.get("convert_weights", reader.converts)

    def _prefix(self) -> str:
        if (reader := _READERS.get(self.config.get("type"))) is not None:
            return reader.prefix
        prefix = (self.config.get("init_cfg") or {}).get("prefix") or ""
        return prefix if prefix.endswith(".") or not prefix else f"{prefix}."


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}


def parts(model: Any) -> list[Part]:
    """The parts of a model that start from weights, its backbone first."""
    return sorted(_parts(model, ""), key=lambda part: part.path != BACKBONE)


def _parts(node: Any, path: str) -> Iterator[Part]:
    if isinstance(node, list | tuple):
        for number, item in enumerate(node):
            yield from _parts(item, f"{path}.{number}")
    if not isinstance(node, Mapping):
        return
    init = node.get("init_cfg")
    has_file = isinstance(init, Mapping) and init.get("type") == "Pretrained"
    if path and (has_file or isinstance(node.get("pretrained"), str)):
        yield Part(path, node)
    for key, item in node.items():
        if key != "init_cfg":
            yield from _parts(item, f"{path}.{key}" if path else key)
