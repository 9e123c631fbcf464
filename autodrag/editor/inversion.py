"""Inversion of a given image into W+ and, on request, a short fine-tuning of the generator around the result.

If the generator has a trained encoder, the encoder gives the start and a search in whitened coordinates of W refines it
(`latent_search`). Otherwise the most similar of several random images is optimised for several hundred steps.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.editor.latent_search import LatentSearch, SearchConfig
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator, as_rgb
from autodrag.models import Encoder
from autodrag.seeding import rng
from autodrag.vision.image_loss import load_distance

W_SAMPLES = 4096
LOCAL_BLOCK = 4  # 32 px: the features that tuning holds for other latents
START_SIDE = 64  # pixels at which the starting latents are compared


@dataclass(frozen=True)
class InvertConfig:
    """How a picture is inverted. Distances between latents are in units of the standard deviation of W."""

    steps: int = 300  # of Adam on the latents, where no encoder gives the start
    lr: float = 0.08  # of Adam on the latents, in standard deviations of W
    starts: int = 48  # random pictures; the most similar one is the start
    average_weight: float = 2e-3  # weight of the mean square distance to w_avg, which keeps latents where drags work
    row_weight: float = 2e-3  # weight of the mean square distance of rows from their mean, for the same reason
    refine_share: float = 0.05  # share of the steps taken where an encoder gives the start, 0 to 1
    search: SearchConfig = field(default_factory=SearchConfig)  # weights of the search from the encoder's latents
    tune_steps: int = 0  # of tuning the generator's weights (Roich et al. 2022, PTI); 0: none
    tune_lr: float = 1e-3  # of Adam on the generator's weights
    locality: float = 0.3  # weight of other pictures staying the same while the weights are tuned
    align: bool = True  # whether faces are first cut out of photographs as in the generator's training data
    detail: bool = True  # whether edits keep what the photograph shows and the inversion lacks
    seed: int = 0  # of the random starts and of the tuning

    def __post_init__(self) -> None:
        if not (1 <= self.steps <= 10_000 and 0 <= self.tune_steps <= 10_000 and 1 <= self.starts <= 10_000):
            raise InputError("An inversion takes 1 to 10000 steps and starts, and 0 to 10000 steps of tuning.")
        if not 0 <= self.refine_share <= 1:
            raise InputError(f"invert.refine_share is {self.refine_share:g}, expected a share from 0 to 1.")


@dataclass(frozen=True)
class InversionProgress:
    """Progress of an inversion. loss: current dissimilarity of the images. ws: current latents."""

    phase: Literal["start", "invert", "tune"]
    step: int
    steps: int
    loss: float
    ws: Float[Tensor, "1 L D"]


class Inversion:
    """One picture being inverted: iterate `run`, stop whenever, and read `ws`, `generator` and `tuned`.

    picture: [1, 3, H, W] in [-1, 1] at the generator's resolution. encoder: trained for the generator; None: the start
    is the most similar of several random images. After `run` with tuning, `generator` is the tuned one and `tuned` its
    changed weights; otherwise they are the given one and empty. Raises InputError where picture or encoder do not fit
    the generator.
    """

    def __init__(
        self,
        generator: FrozenGenerator,
        picture: Float[Tensor, "1 3 H W"],
        config: InvertConfig,
        encoder: Encoder | None = None,
    ) -> None:
        if picture.shape[-2:] != generator.resolution:
            raise InputError(
                f"The picture has {list(picture.shape[-2:])} rows and columns, the generator makes "
                f"{list(generator.resolution)}; resize it."
            )
        if encoder is not None and (encoder.num_ws, encoder.w_dim) != (generator.num_ws, generator.w_dim):
            raise InputError(f"The encoder was trained for another generator than {generator.name}: train its own.")
        self.generator, self.config = generator, config
        self._encoder = None if encoder is None else encoder.to(generator.device)
        self.tuned: dict[str, Tensor] = {}
        self._picture = picture.to(generator.device)
        self._distance = load_distance(generator.device)
        z = torch.randn(W_SAMPLES, generator.z_dim, generator=rng(config.seed, "inversion"))
        labels = _labels(generator, W_SAMPLES, config.seed)
        parts = zip(z.split(512), labels.split(512), strict=True)
        self._w = torch.cat([generator.map(part, c if c.shape[1] else None)[:, 0] for part, c in parts]).float()
        self._mean, self._std = self._w.mean(dim=0), self._w.std(dim=0).clamp(min=1e-6)
        self.ws: Float[Tensor, "1 L D"] = self._mean.expand(1, generator.num_ws, -1).clone()

    def run(self) -> Iterator[InversionProgress]:
        """Choose a start, invert, then tune. Yields after every short piece of work; `ws` holds the result so far."""
        if self._encoder is None:
            yield from self._choose_start()
            yield from self._invert()
        else:
            yield from self._encode(self._encoder)
            yield from self._finish(self._encoder)
        if self.config.tune_steps:
            yield from self._tune()

    def _choose_start(self) -> Iterator[InversionProgress]:
        """Latents of the most similar of several random images, compared at a small size."""
        wanted, least = _small(self._picture), math.inf
        parts = self._w[: self.config.starts].split(4)
        for index, part in enumerate(parts):
            ws = torch.lerp(self._mean, part, 0.7)[:, None].expand(-1, self.generator.num_ws, -1)
            with torch.no_grad():
                errors = (_small(self.generator.synthesize(ws).float()) - wanted).square().mean(dim=(1, 2, 3))
            if float(errors.min()) < least:
                least, self.ws = float(errors.min()), ws[errors.argmin()][None].clone()
            yield InversionProgress("start", index + 1, len(parts), least, self.ws)

    @torch.no_grad()
    def _encode(self, encoder: Encoder) -> Iterator[InversionProgress]:
        """The latents that the encoder predicts."""
        self.ws = encoder(self._picture)
        unlike = self._distance(self.generator.synthesize(self.ws).float(), self._picture)
        yield InversionProgress("start", 1, 1, float(unlike), self.ws)

    def _finish(self, encoder: Encoder) -> Iterator[InversionProgress]:
        """Refine the encoder's latents without leaving the latents that can be dragged."""
        steps = round(self.config.refine_share * self.config.steps)
        if steps == 0:
            return
        search = LatentSearch(self.generator, encoder, self._picture, self.ws, self._distance, self.config.search)
        for step, (loss, self.ws) in enumerate(search.run(steps)):
            yield InversionProgress("invert", step + 1, steps, loss, self.ws)

    def _strayed(self, place: Float[Tensor, "1 L D"]) -> Float[Tensor, ""]:
        """Penalty for latents (in standard deviations of W) far from the average and for rows that differ."""
        spread = (place - place.mean(dim=1, keepdim=True)).square().mean()
        return self.config.average_weight * place.square().mean() + self.config.row_weight * spread

    def _invert(self) -> Iterator[InversionProgress]:
        config = self.config
        place = ((self.ws - self._mean) / self._std).requires_grad_()  # in standard deviations of W
        adam = torch.optim.Adam([place], lr=config.lr, betas=(0.9, 0.99))
        for step in range(config.steps):
            for group in adam.param_groups:
                group["lr"] = config.lr * _schedule(step / config.steps)
            with torch.enable_grad():
                image = self.generator.synthesize(self._mean + self._std * place).float()
                unlike = self._distance(image, self._picture)
                (place.grad,) = torch.autograd.grad(unlike + self._strayed(place), place)
            adam.step()
            self.ws = (self._mean + self._std * place).detach()
            yield InversionProgress("invert", step + 1, config.steps, float(unlike.detach()), self.ws)

    def _tune(self) -> Iterator[InversionProgress]:
        """Pivotal tuning: optimise the synthesis weights so that `ws` gives the image while its neighbours stay the
        same.
        """
        config = self.config
        network = self.generator.trainable_copy().requires_grad_(False)
        weights = dict(network.synthesis.requires_grad_().named_parameters())
        adam = torch.optim.Adam(weights.values(), lr=config.tune_lr)
        for step in range(config.tune_steps):
            for group in adam.param_groups:
                group["lr"] = config.tune_lr * _schedule(step / config.tune_steps)
            other, image_before, features_before = self._neighbour(step)
            with torch.enable_grad():
                images, features = network.synthesis(torch.cat([self.ws, other]), taps=(LOCAL_BLOCK,))
                image, other_image = as_rgb(images).split(1)
                unlike = self._distance(image, self._picture) + F.mse_loss(image, self._picture)
                change = features[LOCAL_BLOCK][1:] - features_before
                strayed = (
                    F.mse_loss(other_image, image_before) + change.square().mean() / features_before.square().mean()
                )
                loss = unlike + config.locality * strayed
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield InversionProgress("tune", step + 1, config.tune_steps, float(unlike.detach()), self.ws)
        state = {name: weight.detach().clone() for name, weight in weights.items()}
        self.generator, self.tuned = tuned_generator(self.generator, state), state

    def _neighbour(
        self, step: int
    ) -> tuple[Float[Tensor, "1 L D"], Float[Tensor, "1 3 H W"], Float[Tensor, "1 C h w"]]:
        """A latent between `ws` and a random one, with the image that the original generator makes of it."""
        draw = rng(self.config.seed, "tuning", step)
        index = int(torch.randint(len(self._w), (1,), generator=draw))
        share = 0.2 + 0.6 * float(torch.rand(1, generator=draw))
        other = torch.lerp(self.ws, self._w[index].expand_as(self.ws), share)
        with torch.no_grad():
            image, features = self.generator.synthesize(other, return_features=LOCAL_BLOCK)
        return other, image, features.float()


def tuned_generator(generator: FrozenGenerator, weights: dict[str, Tensor]) -> FrozenGenerator:
    """The generator with other synthesis weights. Raises InputError if they do not fit."""
    network = generator.trainable_copy()
    try:
        found = network.synthesis.load_state_dict(weights, strict=False)
    except RuntimeError:
        raise InputError(f"The fine-tuned weights do not fit the generator of {generator.name}.") from None
    if found.unexpected_keys:
        raise InputError(f"The fine-tuned weights do not fit the generator of {generator.name}.")
    tuned = FrozenGenerator(network, generator.name, generator.dtype)
    tuned.chosen = generator.chosen
    return tuned


def _labels(generator: FrozenGenerator, count: int, seed: int) -> Float[Tensor, "count C"]:
    """Random classes for a conditional generator without a chosen class; otherwise empty labels."""
    if generator.c_dim == 0 or generator.chosen is not None:
        return torch.zeros(count, 0)
    chosen = torch.randint(generator.c_dim, (count,), generator=rng(seed, "inversion classes"))
    return F.one_hot(chosen, generator.c_dim).float()


def _schedule(share: float) -> float:
    """Factor of the learning rate: warmup, constant, then a cosine over the last third (StyleGAN2's projector)."""
    fall = min(1.0, (1 - share) * 3)
    return min(1.0, share * 20 + 0.05) * (0.5 - 0.5 * math.cos(math.pi * fall))


def _small(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
    return F.avg_pool2d(image, max(1, image.shape[-2] // START_SIDE))
