"""Hashes of weights, to check whether latents belong to a generator."""

import hashlib

from torch import nn

from autodrag.generator import FrozenGenerator


def fingerprint(generator: FrozenGenerator) -> str:
    """sha256 of the names, shapes and values of the float32 weights and the chosen class.

    Independent of device and dtype.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {list(values.shape)} {values.dtype}".encode())
        digest.update(values.numpy().tobytes())
    if generator.chosen is not None:
        digest.update(generator.chosen.cpu().numpy().tobytes())
    return digest.hexdigest()


def hash_of(network: nn.Module) -> str:
    """sha256 of the names and float32 values of a network's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
