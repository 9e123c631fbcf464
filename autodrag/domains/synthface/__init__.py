"""synthface, the domain that ships with the repository: procedural faces with exactly known landmarks and surface."""

from autodrag.domains.synthface.parameters import APPEARANCE, GEOMETRY, Z_DIM, parameters
from autodrag.domains.synthface.renderer import SIZE, Render, render

__all__ = ["APPEARANCE", "GEOMETRY", "SIZE", "Z_DIM", "Render", "parameters", "render"]
