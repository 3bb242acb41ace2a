"""Arrays that lie on a GPU already, taken from other libraries without a copy.

CUDA arrays come through DLPack or ``__cuda_array_interface__``, as those of PyTorch, CuPy, JAX and
Numba do; OpenCL's are pyopencl's. `kernel` calls kernels with them.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.measure.gpu.device import AbstractDevice
from metasched.measure.kernel import Array
from metasched.measure.records import ArgSpec

_CUDA, _CUDA_MANAGED = 2, 13
_DEFAULT_STREAM: Final = 1
"""DLPack's name for CUDA's default stream, on which kernels are launched."""

_CODES: Final = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


@dataclass(frozen=True, slots=True)
class DeviceView:
    """An array of another library on a device.

    Attributes:
        pointer: Its address, or OpenCL's buffer.
        shape: The extents.
        dtype: The name of the element type.
        is_contiguous: Whether it is dense in C order.
        is_writeable: Whether it may be an output.
        owner: What keeps the memory alive.
        queue: OpenCL's queue that what was done to it before is in; None for CUDA.
    """

    pointer: Any
    shape: tuple[int, ...]
    dtype: str
    is_contiguous: bool
    is_writeable: bool
    owner: Any
    queue: Any = None


class DeviceArray:
    """A new array on a CUDA device, which other libraries take without a copy.

    ``torch.as_tensor(it, device="cuda")`` or ``cupy.asarray(it)`` share its memory, and `numpy`
    fetches it. Bfloat16 is shown as its bit patterns, uint16, since the interface has no name for
    it; ``.view(torch.bfloat16)`` turns them back.
    """

    def __init__(self, device: AbstractDevice, arg: ArgSpec) -> None:
        self.shape, self.dtype = arg.shape, arg.dtype
        self._numpy = DType.of(arg.dtype).numpy()
        size = int(np.prod(arg.shape, dtype=np.int64)) * self._numpy.itemsize
        self._device, self._memory = device, device.allocate(size)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array for other libraries, version 3 of the protocol."""
        return {
            "shape": self.shape,
            "typestr": self._numpy.str,
            "data": (int(self._memory), False),
            "strides": None,
            "version": 3,
            "stream": _DEFAULT_STREAM,
        }

    def numpy(self) -> Array:
        """Return a copy on the host."""
        array = np.empty(self.shape, self._numpy)
        self._device.read(self._memory, array)
        return array

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {self.shape})"


def device_view(array: Any, arg: ArgSpec) -> DeviceView | None:
    """Return an array that lies on a device, or None for one on the host.

    Args:
        array: Anything that a user passes.
        arg: The parameter it is passed for; bit patterns of bfloat16 may come as uint16.

    Raises:
        UsageError: it lies on a device, but its library does not give it away.
    """
    if isinstance(array, np.ndarray):
        return None
    try:
        if isinstance(array, DeviceArray):
            return _of_interface(array)
        if hasattr(array, "base_data") and hasattr(array, "queue"):
            return _of_opencl(array)
        if hasattr(array, "__dlpack__") and array.__dlpack_device__()[0] in (_CUDA, _CUDA_MANAGED):
            return _of_dlpack(array)
        if hasattr(array, "__cuda_array_interface__"):
            return _of_interface(array)
    except (RuntimeError, ValueError, TypeError, BufferError, AttributeError) as error:
        raise UsageError(f"'{arg.name}' cannot be taken from its device: {error}") from error
    return None


def check_view(arg: ArgSpec, view: DeviceView) -> None:
    """Refuse a device array that a kernel cannot take for a parameter.

    Raises:
        UsageError: its shape, dtype or layout differs, or it is an output that is read-only.
    """
    same = view.dtype == arg.dtype or (view.dtype, arg.dtype) == ("uint16", "bfloat16")
    if view.shape != arg.shape or not same:
        given = f"'{arg.name}' is {view.dtype} {view.shape}"
        raise UsageError(f"{given}, expected {arg.dtype} {arg.shape}")
    if not view.is_contiguous:
        raise UsageError(f"'{arg.name}' is not contiguous; pass a contiguous copy")
    if arg.is_output and not view.is_writeable:
        raise UsageError(f"'{arg.name}' is an output but the array is read-only; pass a copy")


def _of_interface(array: Any) -> DeviceView:
    data: dict[str, Any] = array.__cuda_array_interface__
    dtype = np.dtype(data["typestr"])
    address, is_read_only = data["data"]
    shape = tuple(data["shape"])
    dense = _is_dense(shape, data.get("strides"), dtype.itemsize)
    return DeviceView(address, shape, dtype.name, dense, not is_read_only, array)


def _of_opencl(array: Any) -> DeviceView:
    queue, dtype = array.queue, np.dtype(array.dtype)
    size = int(np.prod(array.shape, dtype=np.int64)) * dtype.itemsize
    data = array.base_data
    buffer = data.get_sub_region(array.offset, max(size, 1)) if array.offset else data
    dense = bool(array.flags.c_contiguous)
    return DeviceView(buffer, tuple(array.shape), dtype.name, dense, True, array, queue)


class _Tensor(ctypes.Structure):
    """DLPack's ``DLTensor``, which is what a capsule begins with."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _of_dlpack(array: Any) -> DeviceView:
    capsule = array.__dlpack__(stream=_DEFAULT_STREAM)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    # The capsule keeps its name, so it frees what it holds when it goes.
    tensor = _Tensor.from_address(get(capsule, b"dltensor"))
    code = _CODES.get(tensor.code, f"code {tensor.code} ")
    dtype = code if code == "bool" else f"{code}{tensor.bits}"
    shape = tuple(tensor.shape[n] for n in range(tensor.ndim))
    strides = tuple(tensor.strides[n] for n in range(tensor.ndim)) if tensor.strides else None
    dtype = dtype if tensor.lanes == 1 else f"{dtype}x{tensor.lanes}"
    address = (tensor.data or 0) + tensor.byte_offset
    return DeviceView(address, shape, dtype, _is_dense(shape, strides, 1), True, capsule)


def _is_dense(shape: tuple[int, ...], strides: Any, item: int) -> bool:
    """Whether strides are those of a C array of items so large; None stands for just those."""
    expected = item
    for extent, stride in zip(reversed(shape), reversed(strides or ()), strict=False):
        if extent != 1 and stride != expected:
            return False
        expected *= extent
    return True
