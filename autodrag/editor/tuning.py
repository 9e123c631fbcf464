"""Options of optimising methods that users may change: the learning rate and lambda of the mask term."""

from dataclasses import asdict, dataclass, replace

from autodrag.errors import InputError
from autodrag.methods.base import DragMethod, Number
from autodrag.methods.draggan import DragGAN
from autodrag.methods.freedrag import FreeDrag


@dataclass(frozen=True)
class Tuning:
    """lr: of Adam, above 0. mask_weight: lambda, at least 0. None: the method's own value."""

    lr: Number | None = None
    mask_weight: Number | None = None

    @classmethod
    def of(cls, method: DragMethod) -> "Tuning | None":
        """The values of a method; None if it has none."""
        return cls(method.lr, method.mask_weight) if isinstance(method, DragGAN | FreeDrag) else None

    def on(self, method: DragMethod) -> DragMethod:
        """The method with these values. Raises InputError if it has no such options or they are out of range."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if not given:
            return method
        if not isinstance(method, DragGAN | FreeDrag):
            raise InputError("Only DragGAN and FreeDrag have a learning rate and lambda: choose one of them.")
        if self.mask_weight is not None and not 0 <= self.mask_weight < float("inf"):
            raise InputError(f"lambda is {self.mask_weight!r}; give a number of at least 0.")
        return replace(method, **given)


AS_IS = Tuning()
