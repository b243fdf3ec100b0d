"""Installs repfusion_mm beside the OpenMMLab packages that are there."""
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line for line in lines if line and line[0] not in '#-']


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
)
