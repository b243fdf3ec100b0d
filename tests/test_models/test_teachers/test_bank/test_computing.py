"""Rows of a bank."""
import torch

from repfusion_mm.models.teachers.bank.computing import compute_rows

TAP = 'mid_block'


def test_each_image_is_encoded_once(build, pipeline_folder, images):
    teacher = build(dict(type='repfusion_mm.UNetTeacher', taps=[TAP],
                         pretrained=pipeline_folder))
    teacher.init_weights()
    which, t = torch.tensor([0, 0, 1, 3]), torch.tensor([5, 900, 5, 30])
    wanted = teacher(images[which], t)[TAP].mean((2, 3)).half()
    seen, encode = [], teacher.source.encode

    def counted(given, encoder):
        seen.append(len(given))
        return encode(given, encoder)

    teacher.source.encode = counted
    rows = compute_rows(teacher, images, which, t, [TAP],
                        torch.device('cpu'))
    torch.testing.assert_close(torch.from_numpy(rows), wanted)
    assert seen == [4]  # images, not rows
