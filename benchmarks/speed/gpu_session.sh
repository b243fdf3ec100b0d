#!/usr/bin/env bash
# What is worth measuring on one CUDA GPU, in slices of some minutes. The same
# command again goes on; README.md says how to prepare it.
# usage: benchmarks/speed/gpu_session.sh OUT [--minutes 9] [--data DIR] ...
root=$(cd "$(dirname "$0")/../.." && pwd)
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "${PYTHON:-python3}" \
    -m benchmarks.speed.gpu_session "$@"
