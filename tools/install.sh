#!/usr/bin/env bash
# Installs requirements/<name>.txt, for the Makefile and for official_stack.sh.
# usage: tools/install.sh demo|tests|lint|docs|official [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
venv=${2:-.venv}
pythons="3.11 3.12"
case $name in  # sources: what is compiled here, once
    tests) sources="onedl-mmcv xtcocotools" ;;
    official) sources=mmcv pythons=3.11 ;;
    *) sources= ;;
esac
cache=${REPFUSION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/repfusion_mm}

missing() {
    echo "installing $name: $1 is missing; $2" >&2
    exit 1
}

# --- prerequisites -----------------------------------------------------------
python=
for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])' $pythons 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] ||
    missing "Python ${pythons// / or }" "install it, or name it: PYTHON=/path/to/python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    missing "Python's venv module" "install it (Debian: python3-venv)"
command -v git >/dev/null || missing "git" "install it"
if [ -n "$sources" ]; then
    command -v g++ >/dev/null || missing "g++" "install it (Debian: g++)"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    [ -f "$include/Python.h" ] ||
        missing "Python.h" "install Python's headers (Debian: python3-dev)"
fi

# --- the environment ---------------------------------------------------------
if ! "$venv/bin/python" -c '' 2>/dev/null; then
    [ ! -e "$venv" ] || [ -f "$venv/pyvenv.cfg" ] ||
        missing "a virtual environment in $venv" "name another folder"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
venv=$(cd "$venv" && pwd)
python=$venv/bin/python
"$python" -m uv --version >/dev/null 2>&1 ||
    "$python" -m pip install --quiet --disable-pip-version-check uv
install() {
    "$python" -m uv pip install --python "$python" "$@"
}

echo "Installing requirements/$name.txt into $venv"
install -r "requirements/$name.txt"
if [ -n "$sources" ]; then
    # wheels that only exist as sources are built once and kept
    install -r "requirements/${name}_build.txt"
    tag=$("$python" -c 'import sys, torch; print("cp%d%d-torch%s" % (*sys.version_info[:2], torch.__version__))')
    for package in $sources; do
        requirement=$(grep -h "^$package==" requirements/*.txt)
        wheels=$cache/$tag/$requirement
        if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
            echo "Building $requirement (mmcv's operators take 5 to 20 minutes, once)"
            mkdir -p "$wheels"
            build=$(mktemp -d)
            # no GPU is shown to the build: the operators are for the CPU
            PATH="$venv/bin:$PATH" CUDA_VISIBLE_DEVICES='' MMCV_WITH_OPS=1 \
                CFLAGS="-O1 -g0" "$python" -m pip wheel "$requirement" \
                --quiet --no-deps --no-build-isolation --no-binary :all: \
                --wheel-dir "$build"
            mv "$build"/*.whl "$wheels"
            rmdir "$build"
        fi
        install --quiet --no-deps --reinstall "$wheels"/*.whl
    done
    install --quiet --no-deps -r "requirements/${name}_no_deps.txt"
    "$python" -c 'import mmcv.ops'
fi
if [ "$name" = tests ]; then  # see there why it is not among the others
    install --quiet --no-deps --target "$venv/text" -r requirements/text.txt
fi
[ "$name" = lint ] || [ "$name" = docs ] || install --quiet --no-deps -e .
touch "$venv/.installed-$name"
