"""What the first pages tell people to type is typed, in its order."""
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from .commands import commands_of

ROOT = Path(__file__).resolve().parents[2]
# a few steps where they train thousands
TRAIN = ['train_cfg.max_iters=4', 'default_hooks.checkpoint.interval=4',
         'train_dataloader.num_workers=0', 'train_dataloader.batch_size=16',
         'param_scheduler=None', 'randomness.seed=0']
CLASSIFY = ['train_cfg.val_interval=4', 'val_dataloader.num_workers=0',
            'test_dataloader.num_workers=0']
START = 'model.backbone.init_cfg.checkpoint=work_dirs/{}/iter_4.pth'
SMALL = [
    'model.denoiser.block_out_channels=(8,8,8,16)',
    'model.denoiser.norm_num_groups=4', 'model.denoiser.attention_head_dim=8',
    'custom_hooks.1.num_samples=1', 'custom_hooks.1.sampling_steps=2']
OPTIONS = {
    'dpm/unet_64px_folder.py': [*TRAIN, *SMALL],
    'distill/repfusion_resnet18_64px_folder.py': TRAIN,
    'mmpretrain/resnet18_64px_folder.py': [*TRAIN, *CLASSIFY],
    'mmpretrain/resnet18_repfusion-init_64px_folder.py': [
        *TRAIN, *CLASSIFY, START.format('repfusion_resnet18_64px_folder')],
    'dpm/probe_64px_folder.py': [
        'timesteps=[0,500]', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0'],
    'demo/repfusion_resnet18_reinforced_digits.py': TRAIN,
    'demo/resnet18_repfusion_digits.py': [
        *TRAIN, *CLASSIFY,
        START.format('repfusion_resnet18_reinforced_digits')],
    'demo/resnet18_scratch_digits.py': [*TRAIN, *CLASSIFY],
}
MORE = dict(will_it_pay=['--times', '2', '--steps', '2', '--views', '1',
                         '--taps', 'mid_block.resnets.1'])


def write_images(folder):
    """Handwritten digits as files: 10 classes, 3 to learn, 1 to test."""
    digits = load_digits()
    for label in range(10):
        images = digits.images[digits.target == label][:14]
        for index, image in enumerate(images):
            part = 'unlabelled' if index > 3 else \
                f'{"val" if index == 3 else "train"}/{label}'
            path = folder / part / f'{label}_{index}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), (image * 15).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize('page, heading', [
    ('README.md', '## Use it on your own images, step by step'),
    ('docs/get_started.md', '## What you see')])
def test_page(page, heading, tmp_path):
    for name in ('configs', 'tools', 'repfusion_mm'):
        (tmp_path / name).symlink_to(ROOT / name)
    write_images(tmp_path / 'data' / 'my_images')
    below = (ROOT / page).read_text().partition(heading)[2]
    text = below.partition('\n## ')[0]
    ran = 0
    for command in commands_of(text + more(page)):
        program, *arguments = command.words
        if program != 'python' or {'NAME', 'CONFIG'} & set(arguments):
            continue
        config = next((word for word in arguments if
                       word.startswith('configs/')), '')
        options = OPTIONS.get(config.partition('/')[2], [])
        tool = Path(arguments[0]).stem
        if tool == 'will_it_pay':
            arguments += MORE[tool]
            options = ['train_dataloader.num_workers=0']
        if options:
            arguments += ['--cfg-options', *options]
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, text=True,
            capture_output=True, env=dict(
                os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'))
        assert done.returncode == 0, f'{command}\n{done.stderr[-3000:]}'
        ran += 1
    assert ran >= 3


def more(page):
    """The page of the site goes on where README.md ends."""
    return (ROOT / 'docs' / 'own_images.md').read_text() \
        if page == 'README.md' else ''
