"""By how much a baseline lowers the variance of REINFORCE's gradient.

After some real steps of stage 1 on the digits all weights are held, and the
policy's gradient is taken on many batches, with and without the baseline on
the same draws. Its variance is summed over all parameters of the policy.
"""
import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from benchmarks.lib.plan import ROOT, quiet, tool
from benchmarks.studies.digits_study import CONFIGS, options
from repfusion_mm.models.rewards.base import RewardInputs
from repfusion_mm.models.time_samplers.reinforced_time import BASELINES
from repfusion_mm.models.utils.raw_images import raw_images


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/baseline_variance',
                        help='folder of results (default: %(default)s)')
    parser.add_argument('--steps', nargs='+', type=int,
                        default=[100, 200],
                        help='stage-1 steps before measuring, above 50 '
                        '(default: %(default)s)')
    parser.add_argument('--batches', type=int, default=200,
                        help='gradients to take (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds (default: %(default)s)')
    return parser.parse_args(argv)


def variances(model, dataloader, batches):
    """Total variance of the policy's gradient for each baseline."""
    sampler = model.time_sampler
    parameters = list(sampler.parameters())
    gradients = {baseline: [] for baseline in BASELINES}
    model.train()
    for batch, _ in zip(dataloader, range(batches)):
        data = model.data_preprocessor(batch, training=True)
        images = raw_images(data['inputs'], model.data_preprocessor)
        sample = sampler(images)
        reward, mask, _ = model.reward(RewardInputs(
            images, sample.timesteps, model.teacher(images, sample.timesteps),
            {}, data['data_samples']))
        for baseline in BASELINES:
            sampler.baseline = baseline
            loss = sampler.loss(sample, reward, mask)['loss_policy']
            gradient = torch.autograd.grad(loss, parameters,
                                           retain_graph=True)
            gradients[baseline].append(
                torch.cat([g.flatten() for g in gradient]))
    return {baseline: torch.stack(rows).var(0).sum().item()
            for baseline, rows in gradients.items()}


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for steps in args.steps:
        ratios = []
        for seed in range(args.seeds):
            with quiet(out / 'log.txt'):
                runner = tool('train')([
                    str(CONFIGS / 'repfusion_resnet18_reinforced_digits.py'),
                    '--work-dir', str(out / f'steps{steps}_seed{seed}'),
                    *options({'train_cfg.max_iters': steps,
                              'model.time_sampler.look': False,
                              'model.time_sampler.entropy_weight': 0.3,
                              'randomness.seed': seed})])
            found = variances(runner.model, runner.train_dataloader,
                              args.batches)
            ratios.append(found['leave_one_out'] / found['none'])
        rows.append(dict(steps=steps, variance_ratio=ratios))
        print(f'after {steps} steps: variance with leave_one_out is '
              f'{np.mean(ratios):.3f} of that without a baseline '
              f'(seeds: {", ".join(f"{ratio:.3f}" for ratio in ratios)})')
    (out / 'results.json').write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
