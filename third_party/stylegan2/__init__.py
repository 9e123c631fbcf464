"""An independent StyleGAN2: the network, and readers of foreign checkpoints. See NOTICE.md."""

from third_party.stylegan2.config import GeneratorConfig
from third_party.stylegan2.network import Generator

__all__ = ["Generator", "GeneratorConfig"]
