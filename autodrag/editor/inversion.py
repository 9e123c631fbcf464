"""Inversion of an image into W+, with optional fine-tuning of the generator around the result (PTI).

With a trained encoder, its latents are refined by a short search in whitened coordinates of W (`latent_search`).
Otherwise, the most similar of several random images is optimised for several hundred steps.
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
LOCAL_BLOCK = 4  # 32 px; features that tuning preserves for other latents
START_SIDE = 64  # image side, in pixels, at which the starts are compared


@dataclass(frozen=True)
class InvertConfig:
    """Settings of an inversion. Distances between latents are in standard deviations of W."""

    steps: int = 300  # Adam steps on the latents, without an encoder
    lr: float = 0.08  # of these steps, in standard deviations of W
    starts: int = 48  # random images, of which the most similar one is the start
    average_weight: float = 2e-3  # penalty on the mean square distance to w_avg, to keep latents editable
    row_weight: float = 2e-3  # penalty on the mean square distance of rows from their mean, for the same reason
    refine_share: float = 0.05  # fraction of `steps` for the search with an encoder, 0 to 1
    search: SearchConfig = field(default_factory=SearchConfig)  # penalties of the search with an encoder
    tune_steps: int = 0  # steps of tuning the generator's weights (Roich et al. 2022, PTI); 0: none
    tune_lr: float = 1e-3  # of Adam on the generator's weights
    locality: float = 0.3  # weight of preserving other images during tuning
    align: bool = True  # whether faces are first aligned and cropped as in the generator's training data
    detail: bool = True  # whether edits keep details of the photograph that the inversion lacks
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
    """Inversion of one image: iterate `run`, stop at any time, and read `ws`, `generator` and `tuned`.

    picture: [1, 3, H, W] in [-1, 1] at the generator's resolution. encoder: trained for the generator; None: start
    from the most similar of several random images. After `run` with tuning, `generator` is the tuned one and `tuned`
    its changed weights; otherwise they are the given one and empty. Raises InputError if picture or encoder do not fit
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
                f"The picture has {list(picture.shape[-2:])} rows and columns, but the generator's images have "
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
        """Choose a start, invert, then tune. Yields after each step; `ws` holds the result so far."""
        if self._encoder is None:
            yield from self._choose_start()
            yield from self._invert()
        else:
            yield from self._encode(self._encoder)
            yield from self._refine(self._encoder)
        if self.config.tune_steps:
            yield from self._tune()

    def _choose_start(self) -> Iterator[InversionProgress]:
        """Start from the most similar of several random images, compared at low resolution."""
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
        """Start from the latents predicted by the encoder."""
        self.ws = encoder(self._picture)
        dissimilarity = self._distance(self.generator.synthesize(self.ws).float(), self._picture)
        yield InversionProgress("start", 1, 1, float(dissimilarity), self.ws)

    def _refine(self, encoder: Encoder) -> Iterator[InversionProgress]:
        """Refine the encoder's latents by `LatentSearch`."""
        steps = round(self.config.refine_share * self.config.steps)
        if steps == 0:
            return
        search = LatentSearch(self.generator, encoder, self._picture, self.ws, self._distance, self.config.search)
        for step, (loss, self.ws) in enumerate(search.run(steps)):
            yield InversionProgress("invert", step + 1, steps, loss, self.ws)

    def _penalty(self, place: Float[Tensor, "1 L D"]) -> Float[Tensor, ""]:
        """Penalty on the distance from the average and between rows. place: in standard deviations of W."""
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
                dissimilarity = self._distance(image, self._picture)
                (place.grad,) = torch.autograd.grad(dissimilarity + self._penalty(place), place)
            adam.step()
            self.ws = (self._mean + self._std * place).detach()
            yield InversionProgress("invert", step + 1, config.steps, float(dissimilarity.detach()), self.ws)

    def _tune(self) -> Iterator[InversionProgress]:
        """Pivotal tuning (PTI): optimise the synthesis weights to reproduce the image at `ws` and preserve others."""
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
                dissimilarity = self._distance(image, self._picture) + F.mse_loss(image, self._picture)
                change = features[LOCAL_BLOCK][1:] - features_before
                drift = F.mse_loss(other_image, image_before) + change.square().mean() / features_before.square().mean()
                loss = dissimilarity + config.locality * drift
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield InversionProgress("tune", step + 1, config.tune_steps, float(dissimilarity.detach()), self.ws)
        state = {name: weight.detach().clone() for name, weight in weights.items()}
        self.generator, self.tuned = tuned_generator(self.generator, state), state

    def _neighbour(
        self, step: int
    ) -> tuple[Float[Tensor, "1 L D"], Float[Tensor, "1 3 H W"], Float[Tensor, "1 C h w"]]:
        """A latent between `ws` and a random one, with its image and features from the original generator."""
        draw = rng(self.config.seed, "tuning", step)
        index = int(torch.randint(len(self._w), (1,), generator=draw))
        share = 0.2 + 0.6 * float(torch.rand(1, generator=draw))
        other = torch.lerp(self.ws, self._w[index].expand_as(self.ws), share)
        with torch.no_grad():
            image, features = self.generator.synthesize(other, return_features=LOCAL_BLOCK)
        return other, image, features.float()


def tuned_generator(generator: FrozenGenerator, weights: dict[str, Tensor]) -> FrozenGenerator:
    """A copy of the generator with other synthesis weights. Raises InputError if they do not fit."""
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
    """Learning rate factor: warm-up, constant, then cosine decay over the last third (StyleGAN2's projector)."""
    fall = min(1.0, (1 - share) * 3)
    return min(1.0, share * 20 + 0.05) * (0.5 - 0.5 * math.cos(math.pi * fall))


def _small(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
    return F.avg_pool2d(image, max(1, image.shape[-2] // START_SIDE))
