#!/bin/sh
# Collects what metasched needs besides NumPy, SciPy, click and rich as wheels for one Python on
# Linux, into a folder: `collect_wheels.sh [3.12] [wheels]`. pycuda: see make_pycuda_wheel.sh.
set -eu
python=${1:-3.12}
folder=${2:-wheels}
platforms=
for libc in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014; do
    platforms="$platforms --platform ${libc}_x86_64"
done
# shellcheck disable=SC2086
python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
    --python-version "$python" $platforms --dest "$folder" \
    xgboost-cpu sqlalchemy greenlet alembic mako markupsafe optuna colorlog \
    pytools platformdirs siphash24
du -sh "$folder"
