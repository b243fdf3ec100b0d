#!/usr/bin/env bash
# What is worth measuring on one CUDA GPU, in slices of some minutes. The same
# command again goes on; README.md says how to prepare it.
# usage: benchmarks/gpu_session.sh OUT [--minutes 9] [--data DIR] ...
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_session.py" "$@"
