"""The identity, for the row "No edit" of the tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.methods.base import Points, Step, read_request


@dataclass(frozen=True)
class NoEdit:
    """Validates its input and yields no steps."""

    generator: FrozenGenerator

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """See `DragMethod.drag`."""
        read_request(self.generator, ws, handles, targets, mask)
        return iter(())
