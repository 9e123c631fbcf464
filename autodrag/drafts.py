"""Drafts: pictures of a drag for a part of their cost, to look at while the pointer moves.

The last blocks of a generator cost most and add least. A drag changes rows 0-5 of `ws` only, so those blocks are the
same function for all its pictures. In a draft they are replaced by what one finished picture of the drag teaches: a
linear map from the features of an earlier block to colours, and the detail wherever nothing has moved. Ours, not the
paper's.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.blending import Kept
from autodrag.generator import FrozenGenerator

STILL = 12 / 127.5  # change of colour at which detail has faded to 1 / e: more is motion
RIDGE = 1e-3  # of the least squares, a share of the features' mean square


class Draft:
    """Synthesis up to a block, finished by what a whole picture has taught.

    ws, picture: the latents [1, L, D] and what `synthesize` made of them, with `keep`. block: the last that is
    computed. The architecture must be one that makes colours in every block (`skip`).
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
        """The picture of latents that differ in rows 0-5 only, in about [-1, 1]; `keep` as for `synthesize`."""
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
    """Weights and, last, bias of the 1 x 1 convolution from the features that comes nearest to the target."""
    given = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)[0].flatten(1)
    products = given @ given.T
    products.diagonal().add_(RIDGE * products.diagonal().mean())
    return torch.linalg.solve(products, given @ target[0].flatten(1).T).T
