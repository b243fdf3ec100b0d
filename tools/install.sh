#!/usr/bin/env bash
# Installs requirements/<name>.txt into .venv, for the Makefile.
# usage: tools/install.sh demo|tests|lint
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
cache=${REPFUSION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/repfusion_mm}

missing() {
    echo "make $name: $1 is missing; $2" >&2
    exit 1
}

# --- prerequisites -----------------------------------------------------------
python=
for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; assert sys.version_info[:2] in ((3, 11), (3, 12))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] ||
    missing "Python 3.11 or 3.12" "install it, or name it: make PYTHON=/path/to/python3.12 ..."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    missing "Python's venv module" "install it (Debian: python3-venv)"
command -v git >/dev/null || missing "git" "install it"
if [ "$name" = tests ]; then  # mmcv's operators are compiled
    command -v g++ >/dev/null || missing "g++" "install it (Debian: g++)"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    [ -f "$include/Python.h" ] ||
        missing "Python.h" "install Python's headers (Debian: python3-dev)"
fi

# --- the environment ---------------------------------------------------------
if ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
fi
python=$PWD/.venv/bin/python
"$python" -m uv --version >/dev/null 2>&1 ||
    "$python" -m pip install --quiet --disable-pip-version-check uv
install() {
    "$python" -m uv pip install --python "$python" "$@"
}

echo "Installing requirements/$name.txt into .venv"
install -r "requirements/$name.txt"
if [ "$name" = tests ]; then
    # wheels that only exist as sources are built once and kept
    install -r requirements/build.txt
    tag=$("$python" -c 'import sys, torch; print("cp%d%d-torch%s" % (*sys.version_info[:2], torch.__version__))')
    for requirement in $(grep -h -E '^(onedl-mmcv|xtcocotools)==' requirements/*.txt); do
        wheels=$cache/$tag/$requirement
        if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
            echo "Building $requirement (mmcv's operators take 5 to 20 minutes, once)"
            mkdir -p "$wheels"
            build=$(mktemp -d)
            # no GPU is shown to the build: the operators are for the CPU
            PATH="$PWD/.venv/bin:$PATH" CUDA_VISIBLE_DEVICES='' MMCV_WITH_OPS=1 \
                CFLAGS="-O1 -g0" "$python" -m pip wheel "$requirement" \
                --quiet --no-deps --no-build-isolation --no-binary :all: \
                --wheel-dir "$build"
            mv "$build"/*.whl "$wheels"
            rmdir "$build"
        fi
        install --quiet --no-deps --reinstall "$wheels"/*.whl
    done
    install --quiet --no-deps -r requirements/no_deps.txt
    "$python" -c 'import mmcv.ops'
fi
[ "$name" = lint ] || install --quiet --no-deps -e .
touch ".venv/.installed-$name"
