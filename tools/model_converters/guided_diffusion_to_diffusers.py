"""A checkpoint of OpenAI's guided-diffusion as a diffusers pipeline folder.

UNetTeacher and diffusers itself read the folder. What a diffusers config
cannot say (128x128 and 512x512) is refused; GuidedDiffusionTeacher reads
those checkpoints as they are.
"""
import argparse

from repfusion_mm.models.teachers.diffusion.sources.guided.denoiser import (
    beyond_diffusers,
)
from repfusion_mm.models.teachers.diffusion.sources.guided.flags import (
    FLAGS,
    PRESETS,
    settle_flags,
)
from repfusion_mm.models.teachers.diffusion.sources.guided.weights import (
    GuidedDiffusionCheckpoint,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='such as 64x64_diffusion.pt')
    parser.add_argument('out_folder', help='where the pipeline is written to')
    parser.add_argument(
        '--preset', choices=list(PRESETS),
        help='flags of a released checkpoint (LSUN and FFHQ: 256x256_uncond)')
    parser.add_argument(
        '--half', action='store_true', help='write float16, half the size')
    group = parser.add_argument_group(
        'guided-diffusion\'s own flags', 'as in its README; they override the '
        'preset\'s')
    for name, default in FLAGS.items():
        if isinstance(default, tuple):
            default = ','.join(map(str, default)) or 'by image_size'
        group.add_argument(f'--{name}', metavar='VALUE',
                           help=f'without a preset: {default!r}')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    flags = settle_flags(args.preset, {
        name: getattr(args, name) for name in FLAGS
        if getattr(args, name) is not None})
    reasons = beyond_diffusers(flags)
    if reasons:
        raise SystemExit(
            'this network has no diffusers config: ' + '; '.join(reasons) +
            '. Use repfusion_mm.GuidedDiffusionTeacher with the checkpoint '
            'itself')
    from diffusers import DDPMPipeline
    source = GuidedDiffusionCheckpoint(args.checkpoint, flags)
    denoiser = source.read()
    if args.half:
        denoiser.half()
    DDPMPipeline(denoiser, source.scheduler).save_pretrained(args.out_folder)


if __name__ == '__main__':
    main()
