#!/usr/bin/env bash
# Gathers, as wheels for Python 3.12 on Linux, x86-64, what requirements/gpu.txt
# needs and a machine without a package index lacks.
# usage: benchmarks/speed/gpu_wheels.sh DIR [THERE]
# THERE: a file with what `python -m pip freeze` prints on that machine; by
# default requirements/gpu_there.txt
set -euo pipefail
[ $# -ge 1 ] || { sed -n 's/^# //p' "$0"; exit 2; }
dir=$(realpath -m "$1")
there=$(realpath "${2:-$(dirname "$0")/../../requirements/gpu_there.txt}")
cd "$(dirname "$0")/../.."
most=60000000  # bytes, with the checkout
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check --upgrade pip uv

names() {  # of requirements, as the index spells them
    sed -E 's/[[:space:]]*[#@=<>!~;[].*//' | tr 'A-Z_.' 'a-z--' | grep .
}
names <"$there" >"$work/names"
# the same module
if grep -qx opencv-python-headless "$work/names"; then
    echo opencv-python >>"$work/names"
fi
# without what is there, and what only that needs
"$python" -m uv pip compile --quiet --no-header --no-annotate \
    --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
    --excludes "$work/names" requirements/gpu.txt >"$work/needed"

mkdir -p "$dir"
rm -f "$dir"/*.whl
platforms=$(for glibc in $(seq 5 28); do echo "--platform manylinux_2_${glibc}_x86_64"; done)
while read -r requirement; do
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --python-version 3.12 --implementation cp $platforms \
        --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 \
        --platform manylinux1_x86_64 --dest "$dir" "$requirement" \
        2>"$work/error" && continue
    # only its source is on the index; it must not be compiled, and pip's cache
    # may hold one that was
    rm -rf "$work/built"
    MMCV_WITH_OPS=0 "$python" -m pip wheel --quiet --disable-pip-version-check \
        --no-cache-dir --no-deps --wheel-dir "$work/built" "$requirement" 2>>"$work/error" || {
        cat "$work/error" >&2
        exit 1
    }
    if ! ls "$work"/built/*-none-any.whl >/dev/null 2>&1; then
        echo "$requirement has no wheel for Python 3.12, and is compiled" >&2
        exit 1
    fi
    mv "$work"/built/*.whl "$dir"
done <"$work/needed"

wheels=$(cat "$dir"/*.whl | wc -c)
checkout=$(git ls-files -z | xargs -0 cat | wc -c)
echo "$(ls "$dir"/*.whl | wc -l) wheels, $((wheels / 1000000)) MB, and the checkout," \
    "$((checkout / 1000000)) MB: $(((wheels + checkout) / 1000000)) MB of at most $((most / 1000000))"
if [ $((wheels + checkout)) -gt $most ]; then
    echo "too large; the largest:" >&2
    ls -S "$dir"/*.whl | head -5 | xargs -n1 basename >&2
    exit 1
fi
