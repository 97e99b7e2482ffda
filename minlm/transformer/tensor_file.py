"""What a file of `torch.save` states about itself, checked before torch reads it.

torch (2.13) believes the sizes in the pickle: a tensor may be larger than the data stored for it, and even with
`weights_only=True` a file may call functions that allocate as much as it likes. Here the pickle is read by itself,
with stand-ins for tensors, and nothing is allowed that tensors and plain values do not need.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Storage:
    """The data of one or more tensors: so many numbers of a type."""

    dtype: torch.dtype
    length: int


def check_tensors(archive: zipfile.ZipFile) -> None:
    """Check that all tensors of an archive lie in the data that is stored for them, and that it holds no code.

    Raises:
        pickle.UnpicklingError: it holds code.
        One of reading.UNREADABLE: it is damaged, or no archive of torch.
    """
    names = [entry.filename for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
    if len(names) != 1:
        raise ValueError("it has no data.pkl")
    folder = names[0].removesuffix("data.pkl")
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    try:
        _StructureUnpickler(io.BytesIO(archive.read(names[0])), f"{folder}data/", sizes).load()
    except MemoryError as error:
        raise ValueError("it states a size beyond all bounds") from error


class _StructureUnpickler(pickle._Unpickler):
    """In Python, because the one in C allocates a table for whatever index a file states."""

    def __init__(self, file: io.BytesIO, folder: str, sizes: dict[str, int]):
        super().__init__(file)
        self.folder, self.sizes = folder, sizes

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, length = pid
        if kind != "storage" or self.sizes[f"{self.folder}{key}"] != length * dtype.itemsize:
            raise ValueError("the size stated for a tensor is not that of its data")
        return Storage(dtype, length)

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it holds pickled code, which is not run: {module}.{name}")
        return _ALLOWED[module, name]


def _check_tensor(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> None:
    if min((offset, *size, *stride)) < 0 or math.prod(size) > storage.length:
        raise ValueError(f"the shape {size} does not fit the data of a tensor")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) > 0 and last >= storage.length:
        raise ValueError(f"the shape {size} does not fit the data of a tensor")


_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexDouble": torch.complex128, "ComplexFloat": torch.complex64,
}  # fmt: skip
_ALLOWED: dict[tuple[str, str], Any] = {
    **{("torch", f"{name}Storage"): dtype for name, dtype in _STORAGES.items()},
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *_: None,
    ("torch._utils", "_rebuild_tensor_v2"): _check_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda *_: None,
}
