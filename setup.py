"""Installs repfusion_mm beside the OpenMMLab packages that are there."""
import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
# where OpenMMLab's packages keep what `mim` looks for
MIM = Path('repfusion_mm', '.mim')


def requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line for line in lines if line and line[0] not in '#-']


class BuildWithConfigs(build_py):
    """Puts the configs and tools into the wheel."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in ('configs', 'tools'):
            shutil.copytree(
                ROOT / name, Path(self.build_lib, MIM, name),
                ignore=shutil.ignore_patterns('__pycache__'),
                dirs_exist_ok=True)


class EditableWithConfigs(editable_wheel):
    """Links to the configs and tools beside the package."""

    def run(self) -> None:
        (ROOT / MIM).mkdir(exist_ok=True)
        for name in ('configs', 'tools'):
            link = ROOT / MIM / name
            if not link.is_symlink():
                os.symlink(Path('..', '..', name), link)
        super().run()


version: dict = {}
exec((ROOT / 'repfusion_mm' / 'version.py').read_text(), version)

setup(
    name='repfusion_mm',
    version=version['__version__'],
    description='Better recognition backbones out of diffusion models, for '
    'OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['repfusion_mm', 'repfusion_mm.*']),
    python_requires='>=3.9',
    install_requires=requirements('runtime.txt'),
    cmdclass=dict(build_py=BuildWithConfigs,
                  editable_wheel=EditableWithConfigs),
)
