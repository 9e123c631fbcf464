"""Which device a config means."""

import torch

from autodrag.errors import InputError


def pick_device(device: str, local: int | None = None) -> torch.device:
    """The device that a config's text means; `local` is the number of this process among those of its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"Unknown device {device!r}: choose auto, cpu, cuda or cuda:N.") from None
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device={device}, but PyTorch sees no CUDA device here; choose device=cpu.")
        if local is not None:
            chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    return chosen
