"""synthface: a domain that ships with the repo: a procedural face whose landmarks and surface are known exactly."""

from autodrag.domains.synthface.parameters import APPEARANCE, GEOMETRY, Z_DIM, parameters
from autodrag.domains.synthface.renderer import SIZE, Render, render

__all__ = ["APPEARANCE", "GEOMETRY", "SIZE", "Z_DIM", "Render", "parameters", "render"]
