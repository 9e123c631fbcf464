"""The first state of a session: the image of a seed, or of a given latent."""

from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.editor.latent_files import check_latent, read_latent
from autodrag.editor.state import MAX_PSI, Frame, Origin, State
from autodrag.errors import InputError
from autodrag.generator import Class, FrozenGenerator
from autodrag.latents import EDITED_ROWS
from autodrag.seeding import rng

Seed: TypeAlias = SupportsIndex  # an integer of Python or NumPy


def of_seed(generator: FrozenGenerator, seed: Seed, psi: float, style: Seed | None, c: Class | None) -> State:
    """The image of a seed. style: another seed, which rows 6.. are taken from. Raises InputError for a psi that no
    session holds.
    """
    if not -MAX_PSI <= psi <= MAX_PSI:
        raise InputError(f"psi is {psi:g}; give a number from {-MAX_PSI:g} to {MAX_PSI:g}: 1 for no truncation.")
    ws = latents_of(generator, seed, psi, c)
    if style is not None:
        ws = torch.cat([ws[:, :EDITED_ROWS], latents_of(generator, style, psi, c)[:, EDITED_ROWS:]], dim=1)
    kept = c if c is None or isinstance(c, int) else tuple(float(value) for value in c)
    return State(Origin(int(seed), psi, None if style is None else int(style), kept), (Frame(ws),))


def of_latent(generator: FrozenGenerator, latent: Any) -> State:
    """The image of a latent: a file, its bytes, an array or a tensor.

    Raises InputError if it is not a latent of this generator.
    """
    if isinstance(latent, str | Path | bytes):
        ws = read_latent(latent if isinstance(latent, bytes) else Path(latent), generator)
    else:
        ws = check_latent(latent, generator)
    return State(Origin(None, 1.0), (Frame(ws.float().cpu().contiguous()),))


def latents_of(generator: FrozenGenerator, seed: Seed, psi: float, c: Class | None) -> Float[Tensor, "1 L D"]:
    """Latents of the image of `seed`."""
    z = torch.randn(1, generator.z_dim, generator=rng(int(seed), "editor"))
    label = None if c is None else generator.label(c)
    return generator.map(z.to(generator.device), label, psi=psi).float().cpu().contiguous()
