"""Details that a photograph shows and its inversion lacks (hair, glasses, background), kept while it is dragged. Ours.

The difference of photograph and inversion is added to every image of the edit. It moves as the network of point motion
predicts (`models.point_motion`). It fades where an image differs from the inversion moved in this way, because the
generator has drawn something new there.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.geometry import rescale, to_unit
from autodrag.latents import split
from autodrag.models import PointMotion

GRID = 40  # places along the longer side of an image whose motion is asked for
ROUNDS = 6  # of finding where what lies at a pixel came from
SAME, CHANGED = 0.08, 0.3  # change of colour, of a range of 2: up to one the detail is whole, from the other it is gone
REACH = 1 / 64  # around a pixel within which change is averaged, a share of the shorter side


class PhotoDetail:
    """Adds the detail to the images of an edit.

    ws: the inversion. picture: its target. motion: of the generator; None: the detail does not move.
    """

    def __init__(
        self,
        generator: FrozenGenerator,
        ws: Float[Tensor, "1 L D"],
        picture: Float[Tensor, "1 3 H W"],
        motion: PointMotion | None = None,
    ) -> None:
        self._ws, self._size, self._motion = ws.to(generator.device), generator.resolution, motion
        with torch.no_grad():
            self._before = generator.synthesize(self._ws).float()
            self._detail = picture.to(self._before) - self._before
            height, width = (max(2, round(GRID * side / max(self._size))) for side in self._size)
            y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
            points = torch.stack([x, y], dim=2).to(self._before)
            self._places = to_unit(rescale(points, (height, width), self._size), self._size)[None]  # [1, h, w, 2]
            if motion is not None:
                rows, _ = split(self._ws)
                pixels = rescale(points.view(1, -1, 2), (height, width), self._size)
                self._codes = motion.codes(rows, pixels, self._size)
                self._start = motion.places(rows, self._codes)

    @torch.no_grad()
    def __call__(
        self, image: Float[Tensor, "1 3 H W"], ws: Float[Tensor, "1 L D"], mask: Float[Tensor, "H W"] | None = None
    ) -> Float[Tensor, "1 3 H W"]:
        """The image of an edit's latents with the detail. mask: 1 where it may have moved; None: everywhere."""
        came_from = self._came_from(ws.to(self._ws), mask)
        both = torch.cat([self._before, self._detail], dim=1)
        before, detail = F.grid_sample(both, came_from, padding_mode="border", align_corners=False).split(3, dim=1)
        change = (image.float() - before).abs().amax(dim=1, keepdim=True)
        radius = max(1, round(REACH * min(self._size)))
        change = F.avg_pool2d(F.pad(change, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)
        gone = ((change - SAME) / (CHANGED - SAME)).clamp(0, 1)
        return image + (1 - gone * gone * (3 - 2 * gone)) * detail

    def _came_from(self, ws: Float[Tensor, "1 L D"], mask: Float[Tensor, "H W"] | None) -> Float[Tensor, "1 H W 2"]:
        """Where the content of each pixel was in the inversion, from -1 to 1: the fixed point of p = q - moved(p)."""
        places = self._places
        back = torch.zeros_like(places).permute(0, 3, 1, 2)  # [1, 2, h, w]
        if self._motion is not None:
            moved = self._motion.places(split(ws)[0], self._codes) - self._start
            moved = moved.view(*places.shape).permute(0, 3, 1, 2)
            for _ in range(ROUNDS):
                at = places + back.permute(0, 2, 3, 1)
                back = -F.grid_sample(moved, at, padding_mode="border", align_corners=False)
        back = F.interpolate(back, self._size, mode="bilinear", align_corners=False)
        if mask is not None:
            back = back * mask.to(back)
        still = F.affine_grid(torch.eye(2, 3)[None].to(back), [1, 3, *self._size], align_corners=False)
        return still + back.permute(0, 2, 3, 1)
