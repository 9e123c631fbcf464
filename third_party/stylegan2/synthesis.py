"""The synthesis network: ws to images, block by block."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .config import GeneratorConfig
from .layers import Modulation, Numbers, StyledConv, ToRGB, UpSkip
from .modulation import Modulations
from .ops import Passes, interpolation, resample_kernel, upsample
from .pointwise import recording

#: (block, features, image so far, is the last) -> (features, image)
Hook: TypeAlias = Callable[[int, Tensor, Tensor | None, bool], tuple[Tensor, Tensor | None]]
HEAP_LIMIT = 2**25  # bytes above which glibc allocates from the system and frees to it every time
NOISE_MODES = ("const", "random", "none")


class Block(nn.Module):
    """The layers of one size: two convolutions (one at 4 px) and, where the architecture has it, one to colours."""

    resample_filter: Tensor

    def __init__(self, config: GeneratorConfig, block: int):
        super().__init__()
        outputs, size = config.channels[block], config.size(block)
        self.first, self.residual = block == 4, config.architecture == "resnet" and block > 4
        taps, common = config.resample_filter, (config.resample_filter, config.conv_clamp, config.use_noise)
        share = math.sqrt(0.5) if self.residual else 1.0  # of each of the two ways through a residual block
        self.register_buffer("resample_filter", resample_kernel(taps))
        if self.first:
            self.const = nn.Parameter(torch.randn(outputs, *size))
        else:
            inputs = config.channels[block // 2]
            self.conv0 = StyledConv(inputs, outputs, config.w_dim, size, True, *common)
        self.conv1 = StyledConv(outputs, outputs, config.w_dim, size, False, *common, share)
        if self.residual:
            self.skip = UpSkip(inputs, outputs, taps, share)
        if config.architecture == "skip" or block == config.blocks[-1]:
            self.torgb = ToRGB(outputs, config.img_channels, config.w_dim, config.conv_clamp)
        self._fixed_filter: Passes | None = None

    def freeze(self, numbers: Numbers | None) -> None:
        """Cache the filter that doubles images; None: compute it every time."""
        self._fixed_filter = None if numbers is None else interpolation(self.resample_filter, torch.float32)

    @property
    def layers(self) -> list[StyledConv | ToRGB]:
        """The layers that read rows of ws, in order."""
        named = (getattr(self, name, None) for name in ("conv0", "conv1", "torgb"))
        return [layer for layer in named if isinstance(layer, StyledConv | ToRGB)]

    @property
    def num_convs(self) -> int:
        """Rows of ws that the convolutions read."""
        return 1 if self.first else 2

    def features(
        self, x: Tensor | None, ws: Sequence[Tensor | Modulation], batch: int, noise: str, numbers: Numbers
    ) -> Float[Tensor, "B C H W"]:
        """Output of the block, before the conversion to colours; `x` is that of the block below, None for the first.

        ws: for each convolution its row [B, D], or the modulation computed from it.
        """
        if x is None:
            x = self.const.to(numbers.dtype).expand(batch, -1, -1, -1).contiguous(memory_format=numbers.layout)
            return self.conv1(x, ws[0], noise)
        y = self.conv1(self.conv0(x, ws[0], noise), ws[1], noise)
        return self.skip(x) + y if self.residual else y

    def image(self, x: Tensor, w: Tensor | Modulation, below: Tensor | None) -> Tensor | None:
        """The image so far: that of the block below, twice as large, plus this block's colours."""
        if below is not None:
            with torch.autocast(below.device.type, enabled=False):
                below = upsample(below, self._fixed_filter or self.resample_filter)
        if not hasattr(self, "torgb"):
            return below
        colours = self.torgb(x, w)
        return colours if below is None else below + colours


class Synthesis(nn.Module):
    """ws [B, L, D] to an image [B, C, H, W] in about [-1, 1]."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.blocks = config.blocks
        self.numbers = Numbers()
        self.modulations: Modulations | None = None
        for block in self.blocks:
            self.add_module(f"b{block}", Block(config, block))

    def stack(self) -> list[Block]:
        """The blocks from the lowest to the highest."""
        return [block for name in self.blocks if isinstance(block := self.get_submodule(f"b{name}"), Block)]

    def modulate_together(self) -> None:
        """Compute the styles of all layers at once from now on, for a frozen network."""
        layers = [
            (first_row(number) + i, layer)
            for number, block in enumerate(self.stack(), 1)
            for i, layer in enumerate(block.layers)
        ]
        self.modulations = Modulations(layers)

    def forward(
        self,
        ws: Float[Tensor, "B L D"],
        noise: str = "const",
        taps: Collection[int] = (),
        stop: int | None = None,
        hook: Hook | None = None,
    ) -> tuple[Tensor | None, dict[int, Tensor]]:
        """The image and the outputs of the blocks named in `taps`, counted from 1.

        With `stop` no block above that one is computed; the image is then that so far where there is a `hook`, else
        None. The image is float32; features have the type of the blocks. `hook` is called after each block with its
        number, its output, the image so far and whether it is the last block; synthesis continues with the output and
        the image that it returns.
        """
        last = len(self.blocks[:stop])
        if hook is None and len(ws) > 1 and ws.device.type == "cpu" and not recording(ws, *self.parameters()):
            return self._by_parts(ws, noise, taps, stop is None, last)
        with_image = stop is None or hook is not None
        _, image, features = self._run(ws, noise, taps, with_image, range(1, last + 1), hook=hook)
        return image, features

    def _run(
        self,
        ws: Float[Tensor, "B L D"],
        noise: str,
        taps: Collection[int],
        with_image: bool,
        blocks: Iterable[int],
        x: Tensor | None = None,
        image: Tensor | None = None,
        hook: Hook | None = None,
    ) -> tuple[Tensor | None, Tensor | None, dict[int, Tensor]]:
        """Blocks by number, from the output `x` and the image of the one below: (output, image, tapped outputs)."""
        features: dict[int, Tensor] = {}
        for number, block, parts in self._inputs(ws, list(blocks)):
            x = block.features(x, parts[: block.num_convs], len(ws), noise, self.numbers)
            if with_image:
                image = block.image(x, parts[-1], image)
            if hook is not None:
                x, image = hook(number, x, image, number == len(self.blocks))
            if number in taps:
                features[number] = x
        return x, image, features

    def _inputs(
        self, ws: Float[Tensor, "B L D"], numbers: Sequence[int]
    ) -> Iterator[tuple[int, Block, list[Tensor | Modulation]]]:
        """For each block: its number, itself, and the inputs of its layers from ws, that of the colours last."""
        blocks = self.stack()
        together: list[Modulation] = []
        if self.modulations is not None and numbers:
            with torch.autocast(ws.device.type, enabled=False):
                together = self.modulations(ws, sum(len(block.layers) for block in blocks[: numbers[-1]]))
        for number in numbers:
            block, row = blocks[number - 1], first_row(number)
            before = sum(len(each.layers) for each in blocks[: number - 1])
            rows: list[Tensor | Modulation] = [ws[:, row + i] for i in range(block.num_convs + 1)]
            rows[: len(block.layers)] = together[before : before + len(block.layers)] or rows[: len(block.layers)]
            yield number, block, rows

    def _by_parts(
        self, ws: Float[Tensor, "B L D"], noise: str, taps: Collection[int], with_image: bool, last: int
    ) -> tuple[Tensor | None, dict[int, Tensor]]:
        """All samples at once through the small blocks, one by one through the large ones.

        On a CPU the maps of many samples do not fit the caches, and those too large for the heap need new memory.
        """
        cut = next((n for n in range(1, last + 1) if self._is_large(n, len(ws))), last + 1)
        x, image, features = self._run(ws, noise, taps, with_image, range(1, cut))
        if cut > last:
            return image, features
        parts = [
            self._run(ws[i : i + 1], noise, taps, with_image, range(cut, last + 1), _row(x, i), _row(image, i))
            for i in range(len(ws))
        ]
        for number in parts[0][2]:
            features[number] = torch.cat([taken[number] for _, _, taken in parts])
        images = [part for _, part, _ in parts if part is not None]
        return torch.cat(images) if images else None, features

    def _is_large(self, number: int, batch: int) -> bool:
        """Whether the maps of the whole batch exceed the heap, and maps, not weights, dominate the cost of a sample."""
        block = self.get_submodule(f"b{self.blocks[number - 1]}")
        assert isinstance(block, Block)
        outputs, per_output, pixels = (
            len(block.conv1.weight),
            block.conv1.weight[0].numel(),
            math.prod(block.conv1.size),
        )
        return pixels >= per_output and batch * outputs * pixels * self.numbers.dtype.itemsize >= HEAP_LIMIT


def first_row(block: int) -> int:
    """Index of the first row of ws that a block reads."""
    return max(0, 2 * block - 3)


def _row(x: Tensor | None, i: int) -> Tensor | None:
    return None if x is None else x[i : i + 1]
