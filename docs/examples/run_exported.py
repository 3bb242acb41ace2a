"""Runs an exported CUDA kernel without metasched: the steps that an engine in C takes, too.

    python run_exported.py matmul.json

Only the driver's library and NumPy are used. Inputs are random; the outputs are summed.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

driver = ctypes.CDLL("libcuda.so.1")
TYPES = {"bfloat16": "uint16"}


def call(name, *arguments):
    """Call a function of the driver, and refuse to go on after an error."""
    if code := driver[name](*arguments):
        raise SystemExit(f"{name} returned {code}")


def allocate(size):
    """Device memory of so many bytes."""
    pointer = ctypes.c_uint64()
    call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
    return pointer


def main(described):
    plan = json.loads(Path(described).read_text())
    assert (plan["format"], plan["kind"]) == (1, "cuda")
    # 1. A context, and the machine code in it.
    device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxPushCurrent_v2", context)
    code = Path(described).with_name(plan["code"]).read_bytes()
    call("cuModuleLoadData", ctypes.byref(module), code)
    # 2. Pointers: one for each parameter, then one for each buffer.
    rng = np.random.default_rng(0)
    arrays, pointers = [], []
    for parameter in plan["parameters"]:
        dtype = np.dtype(TYPES.get(parameter["dtype"], parameter["dtype"]))
        array = (8 * rng.random(parameter["shape"])).astype(dtype)
        pointers.append(allocate(array.nbytes))
        if not parameter["is_output"]:
            size = ctypes.c_size_t(array.nbytes)
            call("cuMemcpyHtoD_v2", pointers[-1], array.ctypes.data_as(ctypes.c_void_p), size)
        arrays.append(array)
    pointers += [allocate(size) for size in plan["buffers"]]
    # 3. The launches, in order on one stream.
    for launch in plan["launches"]:
        function = ctypes.c_void_p()
        call("cuModuleGetFunction", ctypes.byref(function), module, launch["kernel"].encode())
        shared = launch["shared_bytes"]
        if shared > 48 << 10:
            call("cuFuncSetAttribute", function, 8, shared)  # dynamic shared memory
        chosen = [pointers[number] for number in launch["arguments"]]
        values = (ctypes.c_void_p * len(chosen))(*(ctypes.addressof(p) for p in chosen))
        sizes = (*launch["grid"], *launch["block"], shared)
        call("cuLaunchKernel", function, *sizes, None, values, None)
    # 4. The results.
    call("cuCtxSynchronize")
    for parameter, array, pointer in zip(plan["parameters"], arrays, pointers, strict=False):
        if parameter["is_output"]:
            size = ctypes.c_size_t(array.nbytes)
            call("cuMemcpyDtoH_v2", array.ctypes.data_as(ctypes.c_void_p), pointer, size)
            print(parameter["name"], array.shape, float(array.astype(np.float64).sum()))


if __name__ == "__main__":
    main(sys.argv[1])
