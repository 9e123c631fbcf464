"""An independent StyleGAN2: the network, and readers of foreign checkpoints. See NOTICE.md."""

from .config import GeneratorConfig
from .network import Generator

__all__ = ["Generator", "GeneratorConfig"]
