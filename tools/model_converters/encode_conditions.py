"""Encode a config's prompts once, so that its training needs no transformers.

It imports none of the OpenMMLab libraries but MMEngine: transformers 5 and
mmpretrain cannot be imported together, and an environment, or a folder on
PYTHONPATH, that has transformers is all it takes (requirements/text.txt).
"""
import argparse

from mmengine.config import Config, DictAction

from repfusion_mm.registry import MODELS


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a training with a DiffusionTeacher')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override settings of the config, as in tools/train.py')
    return parser.parse_args(argv)


def teachers_of(cfg):
    """All configs of a DiffusionTeacher in a config, however deep."""
    if isinstance(cfg, dict):
        if str(cfg.get('type')).split('.')[-1] == 'DiffusionTeacher':
            yield cfg
            return
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for one in cfg:
            yield from teachers_of(one)


def main(argv=None):
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    teachers = list(teachers_of(cfg.model))
    if not teachers:
        raise SystemExit(f'{args.config}: `model` has no DiffusionTeacher')
    for teacher in teachers:
        teacher = dict(teacher, type='repfusion_mm.DiffusionTeacher')
        MODELS.build(teacher).encode_condition()


if __name__ == '__main__':
    main()
