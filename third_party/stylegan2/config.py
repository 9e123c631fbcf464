"""The configuration of a StyleGAN2 generator: all that is needed to build it, except its weights."""

import dataclasses
import json
from typing import Any

ARCHITECTURES = ("skip", "orig", "resnet")
MAX_BLOCKS = 15
MAX_SIDE = 1 << 16  # pixels


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator. Widths and sizes are explicit, not computed by a formula.

    Raises:
        ValueError: a field is out of range, or the image cannot be halved evenly once for each block after the first.
    """

    z_dim: int
    c_dim: int
    w_dim: int
    resolution: tuple[int, int]  # (H, W); the first block's constant, doubled by every other block
    channels: dict[
        int, int
    ]  # number in a block's name, 4, 8, 16, ... -> its channels; its height where that begins at 4
    img_channels: int = 3
    mapping_layers: int = 8
    embed_features: int | None = None  # width of the embedded label; None: w_dim
    layer_features: int | None = None  # width of the hidden mapping layers; None: w_dim
    mapping_lr_multiplier: float = 0.01
    architecture: str = "skip"  # skip | orig | resnet
    conv_clamp: float | None = None  # bound on the output of every convolution
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    use_noise: bool = True
    num_fp16_res: int = 0  # informative; the caller chooses the precision

    def __post_init__(self) -> None:
        blocks, found = len(self.channels), sorted(self.channels)
        if not 1 <= blocks <= MAX_BLOCKS or found != [4 << i for i in range(blocks)]:
            raise ValueError(f"channels are given for the blocks {found}; 4, 8, 16 and so on were expected")
        step = 1 << (blocks - 1)
        if any(not step <= side <= MAX_SIDE or side % step for side in self.resolution):
            raise ValueError(
                f"resolution is {self.resolution}; of {blocks} blocks multiples of {step} to {MAX_SIDE} were expected"
            )
        if min(self.z_dim, self.w_dim, self.img_channels, self.mapping_layers, *self.channels.values()) < 1:
            raise ValueError("z_dim, w_dim, img_channels, mapping_layers and every channel count must be positive")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is {self.architecture!r}; one of {', '.join(ARCHITECTURES)} was expected")
        if not self.resample_filter or sum(self.resample_filter) == 0:
            raise ValueError("resample_filter needs at least one tap and a sum other than zero")

    @property
    def blocks(self) -> tuple[int, ...]:
        """The numbers in the names of the blocks: 4, 8, 16, ..."""
        return tuple(sorted(self.channels))

    def size(self, block: int) -> tuple[int, int]:
        """(h, w) of the output of the block with this number in its name."""
        height, width = self.resolution
        shrink = self.blocks[-1] // block
        return height // shrink, width // shrink

    @property
    def num_ws(self) -> int:
        """Rows of `ws`: one for each convolution, and one for the last conversion to colours."""
        return 2 * len(self.channels)

    def to_json(self) -> str:
        """The config as JSON, read back by `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "GeneratorConfig":
        """The config in a JSON text. Raises ValueError for unknown or missing keys and wrong types."""
        raw: Any = json.loads(text)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(raw, dict) or set(raw) - set(fields):
            raise ValueError("the text is not the JSON of a generator config")
        try:
            raw["resolution"] = tuple(int(v) for v in raw["resolution"])
            raw["channels"] = {int(height): int(count) for height, count in raw["channels"].items()}
            raw["resample_filter"] = tuple(float(v) for v in raw.get("resample_filter", (1, 3, 3, 1)))
            return cls(**raw)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the text is not the JSON of a generator config: {error}") from error
