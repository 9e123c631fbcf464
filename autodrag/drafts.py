"""Drafts: previews of a drag at a fraction of the cost of synthesis, shown while the pointer moves.

The last blocks of a generator cost the most and add the least. A drag changes only rows 0-5 of `ws`, so these blocks
are the same function for all of its images. A draft replaces them by a linear map from the features of an earlier block
to colours, fitted to one finished image of the drag, plus the detail of that image where nothing has moved. Ours, not
the paper's.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.blending import Kept
from autodrag.generator import FrozenGenerator

STILL = 12 / 127.5  # colour change at which detail has faded to 1 / e; larger changes indicate motion
RIDGE = 1e-3  # of the least squares, relative to the features' mean square


class Draft:
    """Synthesis up to a block, completed by a map fitted to one whole image.

    ws, picture: latents [1, L, D] and their image from `synthesize`, with `keep`. block: the last block that is
    computed. The architecture must output colours in every block (`skip`).
    """

    def __init__(
        self,
        generator: FrozenGenerator,
        ws: Float[Tensor, "1 L D"],
        picture: Float[Tensor, "1 c H W"],
        block: int,
        keep: Kept | None = None,
    ) -> None:
        self._generator, self._block = generator, block
        features, image = self._begun(ws, keep)
        small = F.interpolate(picture, (image.shape[-2], image.shape[-1]), mode="area")
        self._colours = _least_squares(features, small - image)
        self._before = self._finished(features, image)
        self._detail = picture - self._enlarged(self._before)

    def __call__(self, ws: Float[Tensor, "1 L D"], keep: Kept | None = None) -> Float[Tensor, "1 c H W"]:
        """The draft image, in about [-1, 1], of latents that differ only in rows 0-5; `keep` as for `synthesize`."""
        small = self._finished(*self._begun(ws, keep))
        change = (small - self._before).abs().mean(dim=1, keepdim=True)
        change = F.avg_pool2d(F.pad(change, (1, 1, 1, 1), mode="replicate"), 3, 1)
        still = torch.exp(-((change / STILL) ** 2))
        return self._enlarged(small) + self._enlarged(still) * self._detail

    def _begun(self, ws: Float[Tensor, "1 L D"], keep: Kept | None) -> tuple[Tensor, Tensor]:
        features, image = self._generator.begun(ws, self._block, keep)
        assert image is not None  # of the skip architecture
        return features.float(), image

    def _finished(self, features: Float[Tensor, "1 C h w"], image: Float[Tensor, "1 c h w"]) -> Tensor:
        return image + F.conv2d(features, self._colours[:, :-1, None, None], self._colours[:, -1])

    def _enlarged(self, small: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c H W"]:
        return F.interpolate(small, self._generator.resolution, mode="bilinear", align_corners=False)


def _least_squares(features: Float[Tensor, "1 C h w"], target: Float[Tensor, "1 c h w"]) -> Float[Tensor, "c C+1"]:
    """Weights and, last, bias of the 1 x 1 convolution of the features that best fits the target (ridge regression)."""
    given = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)[0].flatten(1)
    products = given @ given.T
    products.diagonal().add_(RIDGE * products.diagonal().mean())
    return torch.linalg.solve(products, given @ target[0].flatten(1).T).T
