"""Training images of the stage `encoder`: generated once with their latents, and cached on disk.

```
folder/
  recipe.json         settings; other settings need another folder
  00000.safetensors   pictures [N, 3, h, w] uint8, ws [N, L, D] float32
  moves.safetensors   moves [M, L, D], see `latent_statistics.image_gradients`
```
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from autodrag.errors import InputError
from autodrag.files import make_folder, read_tensors, write_tensors, write_whole
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.images import to_uint8
from autodrag.latents import join, split
from autodrag.models.encoder import shrunk
from autodrag.runs.lock import exclusive
from autodrag.seeding import rng
from autodrag.training.latent_statistics import image_gradients

SHARD = 128  # images per file; at most this many are lost when interrupted
TOGETHER = 8  # images per generator call, with the same noise mode


@dataclass(frozen=True)
class PicturesConfig:
    """`encoder.pictures` in `configs/train.yaml`."""

    count: int  # number of images, a multiple of 128
    size: int  # longer side, in pixels
    mixed_share: float  # share with kept rows of another latent
    edited_share: float  # share with edited rows interpolated towards another latent
    offset_share: float  # share with an offset per row
    max_offset: float  # maximum offset, as a fraction of the offset of a random latent from the average
    random_noise_share: float  # share with random noise instead of the generator's fixed noise

    def __post_init__(self) -> None:
        if self.count < SHARD or self.count % SHARD:
            raise InputError(f"encoder.pictures.count is {self.count}: choose a multiple of {SHARD}.")
        if self.size < 16:
            raise InputError(f"encoder.pictures.size is {self.size}: choose at least 16 pixels.")
        for name in ("mixed_share", "edited_share", "offset_share", "max_offset", "random_noise_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise InputError(f"encoder.pictures.{name} is {share:g}, expected a share from 0 to 1.")


def fill_cache(folder: Path, generator: FrozenGenerator, config: PicturesConfig, moves: int, seed: int) -> None:
    """Generate the images that the folder lacks, and `image_gradients` at `moves` latents.

    Raises InputError if the folder holds images of other settings or another generator, if another run is using it, or
    if it cannot be written.
    """
    make_folder(folder, "encoder.folder")
    with exclusive(folder):
        _check_recipe(folder, generator, config, seed)
        missing = [number for number in _numbers(config) if not _file(folder, number).exists()]
        for number in tqdm(missing, desc=f"pictures for {folder}", unit=f"x{SHARD}", disable=not missing):
            pictures, ws = make_pictures(generator, config, seed, number)
            write_tensors(_file(folder, number), {"pictures": pictures, "ws": ws}, {})
        if not _moves(folder).exists() or len(load_moves(folder, moves)) < moves:
            write_tensors(_moves(folder), {"moves": image_gradients(generator, config.size, moves, seed)}, {})


def load_pictures(folder: Path, config: PicturesConfig) -> tuple[UInt8[Tensor, "N 3 h w"], Float[Tensor, "N L D"]]:
    """The images of a filled cache and their latents, on the CPU."""
    parts = [read_tensors(_file(folder, number))[0] for number in _numbers(config)]
    return torch.cat([part["pictures"] for part in parts]), torch.cat([part["ws"] for part in parts])


def load_moves(folder: Path, count: int) -> Float[Tensor, "M L D"]:
    """`image_gradients` at up to `count` latents, of a filled cache."""
    return read_tensors(_moves(folder))[0]["moves"][:count]


@torch.no_grad()
def make_pictures(
    generator: FrozenGenerator, config: PicturesConfig, seed: int, number: int
) -> tuple[UInt8[Tensor, "N 3 h w"], Float[Tensor, "N L D"]]:
    """The images of one file: except for random noise, a function of the seed and the file's number."""
    stream = rng(seed, "encoder pictures", number)
    ws = draw_latents(generator, config, SHARD, stream)
    pictures = []
    for part in ws.split(TOGETHER):
        noise = "random" if float(torch.rand((), generator=stream)) < config.random_noise_share else "const"
        pictures.append(shrunk(generator.synthesize(part, noise).float(), config.size).cpu())
    return to_uint8(torch.cat(pictures)), ws.cpu()


def draw_latents(
    generator: FrozenGenerator, config: PicturesConfig, count: int, stream: torch.Generator
) -> Float[Tensor, "N L D"]:
    """Latents like those of inversions: mapped, mixed, edited, and with different rows."""

    def mapped(number: int) -> Float[Tensor, "M D"]:
        z = torch.randn(number, generator.z_dim, generator=stream)
        return torch.cat([generator.map(part)[:, 0].float() for part in z.split(1024)])

    def chosen(share: float) -> Float[Tensor, "N 1 1"]:
        return (torch.rand(count, 1, 1, generator=stream) < share).float().to(generator.device)

    def amount() -> Float[Tensor, "N 1 1"]:
        return torch.rand(count, 1, 1, generator=stream).to(generator.device)

    rows = generator.num_ws
    first, second, third = (mapped(count)[:, None].expand(-1, rows, -1) for _ in range(3))
    head = torch.lerp(split(first)[0], split(second)[0], chosen(config.edited_share) * amount())
    tail = torch.lerp(split(first)[1], split(third)[1], chosen(config.mixed_share))
    other = mapped(count * rows).view(count, rows, -1)
    return join(head, tail) + chosen(config.offset_share) * amount() * config.max_offset * (other - generator.w_avg)


def _check_recipe(folder: Path, generator: FrozenGenerator, config: PicturesConfig, seed: int) -> None:
    """Write the settings of a new folder, or compare them with its own. The number of images may differ."""
    recipe = {**asdict(config), "generator": fingerprint(generator), "seed": seed}
    del recipe["count"]
    path = folder / "recipe.json"
    if not path.exists():
        write_whole(path, (json.dumps(recipe, indent=1) + "\n").encode())
    elif json.loads(path.read_text()) != recipe:
        raise InputError(f"{folder} holds pictures of other settings: choose another encoder.folder, or delete it.")


def _numbers(config: PicturesConfig) -> range:
    return range(config.count // SHARD)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _moves(folder: Path) -> Path:
    return folder / "moves.safetensors"
