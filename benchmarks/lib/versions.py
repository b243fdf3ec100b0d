"""What figures were measured with: for every file of results."""
import importlib
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU_INFO = Path('/proc/cpuinfo')
# the folders of an absolute path: not those of an address, x/y or 1 / 2
FOLDERS = re.compile(r'(?<![\w.:/])/(?:[^\s/:\'"<>()]+/)+')


def versions(*libraries):
    """Commit, versions, CPU and GPU.

    Args:
        *libraries (str): Modules whose versions count, beside those that
            everything needs.

    Returns:
        dict: Of text and numbers, without a path.
    """
    import diffusers
    import mmengine
    import mmpretrain
    import torch
    device = torch.cuda.get_device_name() if torch.cuda.is_available() \
        else 'cpu'
    return dict(commit=COMMIT, python=platform.python_version(),
                torch=torch.__version__, diffusers=diffusers.__version__,
                mmengine=mmengine.__version__,
                mmpretrain=mmpretrain.__version__,
                **{name: importlib.import_module(name).__version__
                   for name in libraries}, device=device, cpu=cpu_name(),
                threads=torch.get_num_threads())


def commit(root=ROOT):
    """The commit of a checkout, with a ``+`` if files differ from it.

    Returns:
        str, optional: None outside git.
    """
    if not (root / '.git').exists():  # nor the one of a folder around it
        return None
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--exclude=*', '--dirty=+'],
            cwd=root, capture_output=True, text=True)
    except OSError:  # there is no git
        return None
    return found.stdout.strip() or None


COMMIT = commit()  # as the process begins: it may move during a long study


def cpu_name():
    """The CPU's model."""
    text = CPU_INFO.read_text() if CPU_INFO.exists() else ''
    found = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def without_folders(text):
    """A message of an error, its absolute paths cut to their last part."""
    return FOLDERS.sub('', text)
