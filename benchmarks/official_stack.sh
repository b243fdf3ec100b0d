#!/usr/bin/env bash
# Shows the package at work on OpenMMLab's own last releases: a user's
# repositories made to distil, and the stock tools of mmseg, mmpose and
# mmpretrain on our configs. No part of `make test`: it installs a second torch.
# usage: benchmarks/official_stack.sh [VENV]
set -euo pipefail
venv=$(realpath -m "${1:-$(dirname "$0")/../.venv-official}")
cd "$(dirname "$0")/.."
python=$venv/bin/python
out=benchmarks/results/official_stack.txt
work=work_dirs/official_stack

bash tools/install.sh official "$venv"
mkdir -p "$work"
echo "Testing; everything goes to $work/log.txt"
"$python" -m pytest -v --basetemp "$work/tests" \
    tests/test_stock_tools/test_{own_repository,mmpretrain,mmseg,mmpose}.py \
    tests/test_stock_tools/test_packaging.py::test_beside_what_is_there \
    >"$work/log.txt" 2>&1 && failed=0 || failed=$?

"$python" - "$work" >"$out" <<'PYTHON'
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

work = Path(sys.argv[1])
print('Written by benchmarks/official_stack.sh.\n')
print('Python', sys.version.split()[0])
for name in ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv', 'mmpretrain',
             'mmsegmentation', 'mmdet', 'mmpose', 'diffusers',
             'huggingface_hub', 'accelerate', 'repfusion_mm'):
    print(name, version(name))

print('\nWhat the trainings of a user\'s own repositories logged, unseeded')
for path in sorted(work.glob('tests/test_own_repository*0/work_dirs/joint/*/'
                             'vis_data/scalars.json')):
    print(re.search('repository_(mm[a-z]+)', str(path))[1])
    for line in path.read_text().splitlines():
        print('   ', ', '.join(
            f'{key} {value:.4g}' for key, value in json.loads(line).items()
            if 'time' not in key and key not in ('memory', 'iter', 'epoch')))

print('\nTests')
for test, outcome in re.findall(r'^(tests/\S+\[?.*?) ([A-Z]+)\b.*\[ *\d+%\]$',
                                (work / 'log.txt').read_text(), re.M):
    print(f'{outcome} {test}')
PYTHON
cat "$out"
exit "$failed"
