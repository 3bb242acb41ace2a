#!/bin/sh
# Builds a wheel of pycuda without a GPU or a driver:
#   make_pycuda_wheel.sh [python3.12] [/usr/local/cuda] [wheels]
# pycuda is linked against the driver's library, which such a machine lacks, so a library with the
# same names stands in for it. It defines them: of an empty one the linker would keep no trace.
set -eu
python=${1:-python3.12}
cuda=${2:-/usr/local/cuda}
folder=${3:-wheels}
version=2026.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -ohE '\bcu[A-Z][A-Za-z0-9_]*' "$cuda/include/cuda.h" "$cuda/include/cudaProfiler.h" | sort -u |
    sed 's/.*/int &(void) { return 100; }/' |
    gcc -shared -fPIC -w -x c - -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so"
"$python" -m venv "$work/env"
pip="$work/env/bin/pip"
"$pip" download --quiet --no-deps --no-binary pycuda --dest "$work" "pycuda==$version"
tar xzf "$work/pycuda-$version.tar.gz" -C "$work"
cat > "$work/pycuda-$version/siteconf.py" <<SETTINGS
CUDA_ROOT = '$cuda'
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = ['$work']
CUDADRV_LIBNAME = ['cuda']
CXXFLAGS = ['-O1', '-g0', '-w']
SETTINGS
"$pip" wheel --quiet --no-deps --wheel-dir "$folder" "$work/pycuda-$version"
ls "$folder"
