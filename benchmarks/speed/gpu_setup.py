"""What the steps of a GPU session need: packages, a GPU, images."""
import subprocess
import sys
import tarfile

MODULES = ('torch', 'torchvision', 'cv2', 'scipy', 'sklearn', 'matplotlib',
           'rich', 'pytest', 'safetensors', 'accelerate', 'diffusers',
           'mmengine', 'mmcv', 'mmpretrain', 'mmseg')


def install(wheels, site):
    """Put the gathered wheels into a folder, unless they are in it.

    No virtual environment: one made from another, as PyTorch often lies in,
    does not see the packages of that one.

    Args:
        wheels (Path): Folder of wheels; nothing is done if it has none.
        site (Path): The folder for ``PYTHONPATH``.
    """
    found = sorted(wheels.glob('*.whl'))
    names = '\n'.join(wheel.name for wheel in found)
    mark = site / 'installed.txt'
    if not found or (mark.exists() and mark.read_text() == names):
        return
    print(f'installing {len(found)} wheels')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index',
         '--no-deps', '--no-compile', '--no-cache-dir', '--upgrade',
         '--disable-pip-version-check', '--target', str(site),
         *map(str, found)], check=True)
    # once, and not by each of many processes at the same time
    subprocess.run([sys.executable, '-m', 'compileall', '-q', '-j', '0',
                    str(site)], stdout=subprocess.DEVNULL)
    mark.write_text(names)


def check(environment, work, device):
    """Stop where a package or the GPU is missing.

    Args:
        environment (dict): Of the commands.
        work (Path): Where it is kept what was found, since importing takes
            its time.
        device (str): ``'cuda'``, or ``'cpu'`` for a rehearsal.
    """
    wheels = work / 'site' / 'installed.txt'
    mark, key = work / 'checked.txt', ' '.join([
        sys.executable, device, wheels.read_text() if wheels.exists() else ''])
    if mark.exists() and mark.read_text() == key:
        return
    done = subprocess.run(
        [sys.executable, '-c', f'import {", ".join(MODULES)}\n'
         'import matplotlib.font_manager\n'  # whose cache takes its time
         f'print("cuda" if torch.cuda.is_available() else "cpu")'],
        env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            'a package is missing or does not fit:\n'
            f'{done.stderr[-1500:]}gather it where there is a package index, '
            'with `bash benchmarks/gpu_wheels.sh DIR THERE`, THERE being '
            'what `python -m pip freeze` prints here, and name --wheels DIR')
    if done.stdout.split()[-1] != 'cuda' and device == 'cuda':
        raise SystemExit('PyTorch sees no CUDA GPU here; --rehearse runs '
                         'everything at toy size on the CPU')
    mark.write_text(key)


def unpack(data, work):
    """The folder of the images, which may come as an archive."""
    if data.is_dir():
        return data
    if not data.is_file():
        raise SystemExit(f'--data {data}: no such folder or archive; '
                         'train/<class>/*.jpg and test/<class>/*.jpg are '
                         'expected in it')
    folder, mark = work / 'data', work / 'data' / 'unpacked'
    if not mark.exists():
        print(f'unpacking {data.name}')
        with tarfile.open(data) as archive:
            archive.extractall(folder, filter='data')
        mark.touch()
    return folder
