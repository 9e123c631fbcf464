"""Everything that has to be known to build a StyleGAN2 generator, apart from its weights."""

import dataclasses
import json
import math
from typing import Any

ARCHITECTURES = ("skip", "orig", "resnet")


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator. Widths and sizes are those of the file's tensors, never a formula's.

    Raises:
        ValueError: a field is out of its range, or the block heights do not run from 4 to the image height.
    """

    z_dim: int
    c_dim: int
    w_dim: int
    resolution: tuple[int, int]  # (H, W); W == H or W == H // 2
    channels: dict[int, int]  # height of a block in pixels -> its channels
    img_channels: int = 3
    mapping_layers: int = 8
    embed_features: int | None = None  # width of the embedded label; None: w_dim
    layer_features: int | None = None  # width of the hidden mapping layers; None: w_dim
    mapping_lr_multiplier: float = 0.01
    architecture: str = "skip"  # skip | orig | resnet
    conv_clamp: float | None = None  # bound on the output of every convolution
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    use_noise: bool = True
    num_fp16_res: int = 0  # recorded; computing in low precision is the caller's choice

    def __post_init__(self) -> None:
        height, width = self.resolution
        if height < 4 or height & (height - 1) or width not in (height, height // 2):
            raise ValueError(
                f"resolution is {self.resolution}; a power of two from 4 up, width H or H / 2, was expected"
            )
        if tuple(sorted(self.channels)) != self.block_heights:
            raise ValueError(
                f"channels are given for {sorted(self.channels)}; {list(self.block_heights)} were expected"
            )
        if min(self.z_dim, self.w_dim, self.img_channels, self.mapping_layers, *self.channels.values()) < 1:
            raise ValueError("z_dim, w_dim, img_channels, mapping_layers and every channel count must be positive")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is {self.architecture!r}; one of {', '.join(ARCHITECTURES)} was expected")
        if not self.resample_filter or sum(self.resample_filter) == 0:
            raise ValueError("resample_filter needs at least one tap and a sum other than zero")

    @property
    def block_heights(self) -> tuple[int, ...]:
        """Heights of the blocks in pixels, from 4 up."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution[0])) + 1))

    @property
    def num_ws(self) -> int:
        """Rows of `ws`: one for every convolution and one for the last conversion to colours."""
        return 2 * len(self.block_heights)

    def to_json(self) -> str:
        """The config as JSON, read back by `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "GeneratorConfig":
        """Raises ValueError where the text is not the JSON of a config: a key too many or too few, or a wrong type."""
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
