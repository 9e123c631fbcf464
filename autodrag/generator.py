"""The frozen generator: latents, images and features of any StyleGAN2. Loaded by `loading.load_generator`."""

import copy
import math
from collections.abc import Sequence
from typing import TypeAlias, overload

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.blending import Kept, Record
from autodrag.errors import InputError
from autodrag.graphs import Graphed
from autodrag.seeding import rng
from autodrag.stylegan2 import NOISE_MODES, Generator, GeneratorConfig, Hook, plain_synthesis

#: A class as its index or label.
Class: TypeAlias = int | Sequence[int | float]


class FrozenGenerator:
    """A StyleGAN2 with frozen weights; gradients flow to `ws`.

    Convolutions run in `dtype`, regardless of autocast; mapping, modulation, images and latents are float32.
    """

    def __init__(
        self, network: Generator, name: str = "custom", dtype: torch.dtype = torch.float32, channels_last: bool = True
    ):
        """Takes ownership of `network`, whose weights must not change afterwards."""
        together = network.mapping.w_avg.device.type != "cpu"
        self.network = network.eval().freeze(dtype, channels_last, together)
        self.name, self.dtype = name, dtype
        self.config: GeneratorConfig = network.config
        self.resolution = self.config.resolution  # (H, W)
        self.num_ws, self.w_dim = self.config.num_ws, self.config.w_dim
        self.z_dim, self.c_dim = self.config.z_dim, self.config.c_dim
        self.num_blocks = len(self.config.blocks)
        self.chosen: Float[Tensor, "1 C"] | None = None  # default label of `map`
        self._picture: Graphed | None = None

    @classmethod
    def random(
        cls,
        resolution: tuple[int, int] = (64, 64),
        w_dim: int = 32,
        channels: dict[int, int] | None = None,
        seed: int = 0,
        z_dim: int | None = None,
        c_dim: int = 0,
        architecture: str = "skip",
        conv_clamp: float | None = None,
        mapping_layers: int = 2,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
    ) -> "FrozenGenerator":
        """A generator with random weights that depend only on the arguments, for tests and benchmarks.

        channels: of each block, by resolution; None: a small default. z_dim: None: `w_dim`.
        """
        heights = [2**i for i in range(2, resolution[0].bit_length())]
        config = GeneratorConfig(
            z_dim=z_dim or w_dim,
            c_dim=c_dim,
            w_dim=w_dim,
            resolution=resolution,
            channels=channels or {height: max(8, min(32, 512 // height)) for height in heights},
            mapping_layers=mapping_layers,
            architecture=architecture,
            conv_clamp=conv_clamp,
        )
        network = Generator(config)
        _randomise(network, seed)
        return cls(network.to(device), f"random-{seed}", dtype, channels_last)

    def __repr__(self) -> str:
        height, width = self.resolution
        return f"FrozenGenerator({self.name}, {height} x {width} px, {self.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """The device of the weights; inputs are moved there."""
        return self.w_avg.device

    @property
    def w_avg(self) -> Float[Tensor, " D"]:
        """The average latent, the target of truncation."""
        return self.network.mapping.w_avg

    @property
    def block_resolutions(self) -> list[tuple[int, int]]:
        """(h, w) of the features of each block, lowest first."""
        return [self.config.size(block) for block in self.config.blocks]

    def feature_shape(self, block: int = 6) -> tuple[int, int, int]:
        """(C, h, w) of `features(ws, block)`."""
        number = self._block(block)
        name = self.config.blocks[number - 1]
        return self.config.channels[name], *self.config.size(name)

    def label(self, c: Class) -> Float[Tensor, "1 C"]:
        """The label of a class for `map`, given its index or a label of `c_dim` numbers. Raises InputError."""
        if self.c_dim == 0:
            raise InputError(f"{self.name} has no classes; leave out c.")
        if isinstance(c, int) and 0 <= c < self.c_dim:
            return torch.eye(self.c_dim, device=self.device)[c : c + 1]
        label = None if isinstance(c, int) else torch.tensor([[float(value) for value in c]], device=self.device)
        if label is None or label.shape != (1, self.c_dim) or not bool(label.isfinite().all()):
            raise InputError(
                f"c is {c}, but {self.name} has {self.c_dim} classes; give a number from 0 to {self.c_dim - 1}, "
                f"or a label of {self.c_dim} numbers."
            )
        return label

    def with_class(self, c: Class) -> "FrozenGenerator":
        """The same network with this class as the default of `map`. Raises InputError."""
        other = copy.copy(self)
        other.chosen = self.label(c)
        return other

    def trainable_copy(self) -> Generator:
        """A copy of the network with trainable float32 weights; `FrozenGenerator(copy)` wraps it again."""
        return copy.deepcopy(self.network).thaw()

    def map(self, z: Tensor, c: Tensor | None = None, psi: float | int = 1.0, cutoff: int | None = None) -> Tensor:
        """Map z [B, z_dim] to latents `ws` [B, L, D].

        c: [B, c_dim] label; None: the chosen class, or zeros. psi: truncation, 1: none. cutoff: number of rows that are
        truncated, None: all. Raises InputError for invalid arguments.
        """
        _check_tensor("z", z, [self.z_dim])
        if c is not None:
            if self.c_dim == 0:
                raise InputError(f"{self.name} has no classes; leave out c.")
            _check_tensor("c", c, [self.c_dim])
            if len(c) != len(z):
                raise InputError(f"z has {len(z)} rows and c has {len(c)}; give one label for each z.")
            c = c.to(self.device, torch.float32)
        elif self.chosen is not None:
            c = self.chosen.expand(len(z), -1)
        if not math.isfinite(psi):
            raise InputError(f"psi is {psi}; give a finite number: 1 for no truncation, 0 for the average image.")
        if cutoff is not None and not 0 <= cutoff <= self.num_ws:
            raise InputError(f"cutoff is {cutoff}; give a number of rows from 0 to {self.num_ws}, or None for all.")
        return self.network.mapping(z.to(self.device, torch.float32), c, float(psi), cutoff).contiguous()

    @overload
    def synthesize(
        self, ws: Tensor, noise: str = "const", return_features: None = None, keep: Kept | None = None
    ) -> Tensor: ...

    @overload
    def synthesize(
        self, ws: Tensor, noise: str = "const", *, return_features: int, keep: Kept | None = None
    ) -> tuple[Tensor, Tensor]: ...

    def synthesize(
        self, ws: Tensor, noise: str = "const", return_features: int | None = None, keep: Kept | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in about [-1, 1], float32; grey images as RGB.

        ws: [B, L, D]. noise: const (the generator's own), random or none. return_features: block whose `features` are
        returned too. keep: from the method `keep`. Raises InputError for invalid arguments.
        """
        ws = self._checked(ws, noise)
        number = None if return_features is None else self._block(return_features)
        if ws.is_cuda and len(ws) == 1 and noise == "const" and keep is None and number is None:
            self._picture = self._picture or Graphed(self._plainly)
            return self._picture(ws)[0]
        with torch.autocast(self.device.type, enabled=False):
            image, taken = self.network.synthesis(ws, noise, () if number is None else (number,), hook=keep)
        assert image is not None  # there is no `stop`
        image = as_rgb(image)
        return image if number is None else (image, taken[number])

    def _plainly(self, ws: Float[Tensor, "B L D"]) -> list[Tensor]:
        """Images only, with the generator's own noise."""
        with torch.autocast(self.device.type, enabled=False):
            image, _ = self.network.synthesis(ws)
        assert image is not None  # there is no `stop`
        return [as_rgb(image)]

    def features(self, ws: Tensor, block: int = 6, noise: str = "const", plain: bool = False) -> Tensor:
        """Output [B, C, h, w] of a block, counted from 1, or of the last one if there are fewer, in `dtype`.

        Later blocks are not computed. plain: slower, in float32 and with noise const, with the rounding of the official
        code. Raises InputError for invalid arguments.
        """
        ws, number = self._checked(ws, noise), self._block(block)
        if plain:
            return plain_synthesis(self.network, ws, number)[1]
        with torch.autocast(self.device.type, enabled=False):
            _, taken = self.network.synthesis(ws, noise, (number,), stop=number)
        return taken[number]

    def begun(self, ws: Tensor, block: int, keep: Kept | None = None) -> tuple[Tensor, Tensor | None]:
        """Synthesis up to a block: its output [B, C, h, w] in `dtype`, and the image so far [B, 3, h, w] in float32.

        The image is None for architectures that output colours only in the last block. keep: from the method `keep`.
        Raises InputError for invalid arguments.
        """
        ws, number = self._checked(ws, "const"), self._block(block)
        with torch.autocast(self.device.type, enabled=False):
            image, taken = self.network.synthesis(ws, "const", (number,), stop=number, hook=keep or _nothing)
        return taken[number], image

    def keep(self, ws: Tensor, mask: Tensor, under: Kept | None = None, noise: str = "const") -> Kept:
        """Record the image of `ws` [1, L, D], for `synthesize` to keep it wherever `mask` [H, W] is 0.

        mask: in [0, 1], 1 where another image may show. under: `keep` of the recorded image itself. Raises InputError
        for invalid arguments.
        """
        if tuple(mask.shape) != self.resolution:
            raise InputError(
                f"The mask has shape {list(mask.shape)}, but images have {list(self.resolution)}; resize it."
            )
        record = Record()
        hook: Hook = record if under is None else _after(under, record)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            self.network.synthesis(self._checked(ws, noise), noise, hook=hook)
        return Kept(record.outputs, mask.to(self.device, torch.float32)[None, None])

    def _checked(self, ws: Tensor, noise: str) -> Float[Tensor, "B L D"]:
        if noise not in NOISE_MODES:
            raise InputError(f"noise is {noise!r}; give one of {', '.join(NOISE_MODES)}.")
        _check_tensor("ws", ws, [self.num_ws, self.w_dim])
        return ws.to(self.device, torch.float32)

    def _block(self, block: int) -> int:
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise InputError(
                f"block is {block!r}; give an integer of at least 1, where {self.num_blocks} is the last block."
            )
        return min(block, self.num_blocks)


def as_rgb(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
    """Grey or RGB images as RGB."""
    return images if images.shape[1] == 3 else images.repeat(1, 3, 1, 1)


def _check_tensor(name: str, value: Tensor, shape: Sequence[int]) -> None:
    """Raises InputError unless `value` is floating point, [B, *shape] with B > 0."""
    wanted = f"[B, {', '.join(map(str, shape))}]"
    if not isinstance(value, Tensor):
        raise InputError(f"{name} is a {type(value).__name__}; give a float tensor {wanted}.")
    if not value.is_floating_point() or value.ndim != len(shape) + 1 or list(value.shape[1:]) != list(shape):
        raise InputError(f"{name} is {value.dtype} {list(value.shape)}; give a float tensor {wanted}.")
    if len(value) == 0:
        raise InputError(f"{name} has no rows; give a float tensor {wanted} with B of at least 1.")


def _nothing(block: int, features: Tensor, image: Tensor | None, last: bool) -> tuple[Tensor, Tensor | None]:
    """The identity hook."""
    return features, image


def _after(first: Hook, second: Hook) -> Hook:
    """Composition of two hooks."""

    def hook(block: int, features: Tensor, image: Tensor | None, last: bool) -> tuple[Tensor, Tensor | None]:
        return second(block, *first(block, features, image, last), last)

    return hook


def _randomise(network: Generator, seed: int) -> None:
    """The standard initialisation, but seeded, and with small biases and noise strengths instead of zeros."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    for index, (name, tensor) in enumerate(sorted(tensors)):
        if name.endswith(("resample_filter", "affine.bias")):
            continue
        values = torch.randn(tensor.shape, generator=rng(seed, "random generator", index))
        if name.startswith("mapping.") and name.endswith("weight"):
            values = values / network.config.mapping_lr_multiplier
        elif name.endswith(("bias", "noise_strength")):
            values = values * 0.1
        elif ".torgb.weight" in name:
            values = values * 0.3
        tensor.data.copy_(values)
    with torch.no_grad():
        z = torch.randn(256, network.config.z_dim, generator=rng(seed, "random generator", len(tensors)))
        network.mapping.w_avg.copy_(network.mapping(z)[:, 0].mean(0))
