"""synthface, the bundled domain: procedural faces with exactly known landmarks and surface correspondence."""

from autodrag.domains.synthface.parameters import APPEARANCE, GEOMETRY, Z_DIM, parameters
from autodrag.domains.synthface.renderer import SIZE, Render, render

__all__ = ["APPEARANCE", "GEOMETRY", "SIZE", "Z_DIM", "Render", "parameters", "render"]
