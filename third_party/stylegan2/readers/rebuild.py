"""The names that generator files use, and what is built for each; any other makes an inert stub.

Nothing here runs code of a file.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .errors import UnreadableError, printable
from .machine import Known, MalformedError, Stub, key

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
    "storage.UntypedStorage": torch.uint8,  # of tensors whose types have no storage of their own, which are not rebuilt
}

_MAX_SIZE = 1 << 40
_MAX_AXES = 8
_MAX_TYPE_NAME = 16


class Storage:
    """`count` numbers of one type; their bytes may become known only after the tensors that look into them."""

    def __init__(self, dtype: torch.dtype, count: Any, data: memoryview | None = None):
        if not isinstance(count, int) or count < 0:
            raise MalformedError("a storage without a size")
        self.dtype, self.count, self.data = dtype, count, data
        self._shared: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that `count` numbers take."""
        return self.count * self.dtype.itemsize

    def read(self) -> Tensor:
        """All numbers, [count], copied out of the file."""
        if self.data is None or len(self.data) != self.nbytes:
            raise MalformedError("a storage without its data")
        copy = bytearray(self.data)
        return torch.frombuffer(copy, dtype=self.dtype) if copy else torch.empty(0, dtype=self.dtype)

    def shared(self) -> Tensor:
        """The same for tensors that are parts of one storage: copied once."""
        if self._shared is None:
            self._shared = self.read()
        return self._shared


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that is still in the file."""

    is_stand_in: ClassVar = True  # hashed by its identity

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def load(self) -> Tensor:
        """The tensor itself, contiguous and with memory of its own."""
        count = math.prod(self.shape)
        if count > self.storage.count:
            raise MalformedError("a tensor larger than its storage")
        whole = count == self.storage.count
        flat = self.storage.read() if whole else self.storage.shared()
        tensor = torch.as_strided(flat, self.shape, self.stride, self.offset)
        return tensor.contiguous() if whole else tensor.clone(memory_format=torch.contiguous_format)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(n, int) and 0 <= n < _MAX_SIZE for n in numbers):
        raise MalformedError("a tensor of impossible size")
    if len(shape) > _MAX_AXES:
        raise MalformedError("a tensor of too many axes")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= storage.count:
        raise MalformedError("a tensor outside its storage")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise MalformedError("a parameter without a tensor")
    return data


class _Dtype:
    """A NumPy type; None for all but plain numbers, whose arrays are never read."""

    def __init__(self, code: Any, *_: Any):
        known = np.dtype(code if isinstance(code, str) and len(code) <= _MAX_TYPE_NAME else "O")
        self.dtype = known if known.kind in "biuf" else None

    def set_state(self, state: Any) -> None:
        """The byte order comes with the state."""
        self.dtype = None if self.dtype is None else self.dtype.newbyteorder(state[1])


class StoredArray:
    """A NumPy array that is still in the file."""

    is_stand_in: ClassVar = True  # hashed by its identity

    def __init__(self) -> None:
        self.array: np.ndarray[Any, Any] | None = None  # None: no numbers

    def set_state(self, state: Any) -> None:
        """State as NumPy pickles it: (version, shape, dtype, Fortran order, bytes)."""
        _, shape, dtype, fortran, data = state
        self._fill(data, dtype, shape, "F" if fortran else "C")

    def _fill(self, data: Any, dtype: Any, shape: Any, order: str) -> None:
        if not isinstance(dtype, _Dtype) or min(shape, default=0) < 0:
            raise MalformedError("an array without a type or a shape")
        if dtype.dtype is None:
            return
        raw = data.encode("latin-1") if isinstance(data, str) else data
        if len(raw) != math.prod(shape) * dtype.dtype.itemsize:
            raise MalformedError("an array whose size is not that of its data")
        flat = np.frombuffer(raw, dtype.dtype) if len(raw) else np.empty(0, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if order == "F" else "C")

    @classmethod
    def from_buffer(cls, data: Any, dtype: Any, shape: Any, order: Any) -> "StoredArray":
        """What pickle protocol 5 stores of an array."""
        array = cls()
        array._fill(data, dtype, shape, order)
        return array

    def load(self) -> Tensor:
        """The array as a tensor with memory of its own."""
        if self.array is None:
            raise MalformedError("an array of something other than numbers")
        return torch.from_numpy(np.array(self.array, self.array.dtype.newbyteorder("=")))


def _scalar(dtype: Any, data: Any) -> Any:
    if dtype.dtype is None:
        return Stub("numpy.generic")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    (value,) = np.frombuffer(raw, dtype.dtype).tolist()
    return value


def _encoded(text: Any, encoding: Any = "utf-8") -> bytes:
    """How protocols 0 to 2 spell bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise MalformedError("bytes that are spelt as nothing known")
    return text.encode(encoding)


def _collection(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda items=(): make(key(item) for item in items)


class Attributed(dict[Any, Any]):
    """A dictionary with attributes beside its items, such as a state dict's `_metadata`."""

    attributes: Any = None

    def set_state(self, state: Any) -> None:
        """What a pickle calls a state are the attributes."""
        self.attributes = state


def _mapping(items: Any = ()) -> Attributed:
    pairs = items.items() if isinstance(items, dict) else items
    return Attributed((key(k), v) for k, v in pairs)


def _rebuilt(function: Any, _kind: Any, args: Any, *_: Any) -> Any:
    """How torch spells a tensor that has attributes or a type of its own."""
    return function.build(*args)


def _reconstructed(known: Any, _base: Any, state: Any) -> Any:
    """How protocols 0 and 1 spell a new object of a class."""
    made = known.build()
    if isinstance(made, dict) and isinstance(state, dict):
        made.update(state)
    return made


def _stub(name: str) -> Known:
    return Known(name, lambda *args: Stub(name, args), inert=True)


PERSISTENT_OBJECT = "torch_utils.persistence._reconstruct_persistent_obj"
TF_NETWORK = "dnnlib.tflib.network.Network"

_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": lambda _factory=None, items=(): _mapping(items),
    "collections.Counter": _mapping,
    "dnnlib.EasyDict": _mapping,
    "dnnlib.util.EasyDict": _mapping,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "builtins.set": _collection(set),
    "builtins.frozenset": _collection(frozenset),
    "builtins.dict": _mapping,
    "torch.Size": lambda items=(): tuple(items),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuilt,
    "torch.serialization._get_layout": lambda *args: Stub("torch.layout", args),  # of sparse tensors
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": lambda *_: StoredArray(),
    "numpy.core.numeric._frombuffer": StoredArray.from_buffer,
}
_RENAMED = (("numpy._core.", "numpy.core."), ("__builtin__.", "builtins."), ("copy_reg.", "copyreg."))
_TABLE = {name: Known(name, build) for name, build in _BUILDERS.items()}

# What only a file with bad intentions asks for. As stubs these would be as harmless here as any other name, but not in
# the next program that the user opens the file with.
_CODE = {
    *("asyncio", "code", "codeop", "commands", "ctypes", "importlib", "marshal", "nt", "os", "pdb", "pickle", "pip"),
    *("posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys", "timeit", "webbrowser", "_pickle"),
    *(f"builtins.{name}" for name in ("__import__", "breakpoint", "compile", "eval", "exec", "input", "open")),
    *("io.open", "_io.open", "numpy.load", "torch.hub", "torch.load", "torch.serialization"),
    "torch.storage._load_from_bytes",  # a torch file in a torch file in a torch file
}


def find(module: str, name: str) -> Known:
    """What stands in for `module.name`. Raises UnreadableError for a name that runs code or opens files."""
    full = f"{module}.{name}"
    if not all(part.isidentifier() for part in full.split(".")):
        raise MalformedError("a name that is none")  # text that begins like a pickle
    for old, new in _RENAMED:
        full = new + full.removeprefix(old) if full.startswith(old) else full
    if full in _TABLE:
        return _TABLE[full]
    parts = full.split(".")
    if any(".".join(parts[:count]) in _CODE for count in range(1, len(parts) + 1)):
        raise UnreadableError(
            f"asks for {printable(full)}, which no generator file needs, and was refused with nothing in it executed",
            "use a file from a source you trust",
        )
    return _stub(full)
