"""Puts configs and tools where `mim` looks; the rest is in pyproject.toml."""
import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
MIM = Path('repfusion_mm', '.mim')
NAMES = ('configs', 'tools', 'model-index.yml')


class BuildWithConfigs(build_py):
    """Puts them into the wheel."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in NAMES:
            source, target = ROOT / name, Path(self.build_lib, MIM, name)
            if source.is_dir():
                shutil.copytree(
                    source, target, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target)


class EditableWithConfigs(editable_wheel):
    """Links to them beside the package."""

    def run(self) -> None:
        (ROOT / MIM).mkdir(exist_ok=True)
        for name in NAMES:
            link = ROOT / MIM / name
            if not link.is_symlink():
                os.symlink(Path('..', '..', name), link)
        super().run()


setup(cmdclass=dict(build_py=BuildWithConfigs,
                    editable_wheel=EditableWithConfigs))
