"""guided-diffusion's UNet in plain PyTorch, to compare with.

Written from the architecture's facts (Dhariwal and Nichol, 2021, and the
names in the released state dicts); nothing of the package is used.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):

    def __init__(self, width, out, emb, scale_shift, resample=None):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, width), nn.SiLU(),
            nn.Conv2d(width, out, 3, padding=1))
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(emb, 2 * out if scale_shift else out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out), nn.SiLU(), nn.Dropout(0.1),
            nn.Conv2d(out, out, 3, padding=1))
        self.skip_connection = nn.Identity() if width == out else \
            nn.Conv2d(width, out, 1)

    def resized(self, x):
        if self.resample == 'up':
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        if self.resample == 'down':
            n, c, h, w = x.shape
            return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
        return x

    def forward(self, x, emb):
        h = F.silu(self.in_layers[0](x))
        h = self.in_layers[2](self.resized(h))
        told = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.split(h.size(1), 1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[3](F.silu(h))
        else:
            h = self.out_layers(h + told)
        return self.skip_connection(self.resized(x)) + h


class SelfAttention(nn.Module):

    def __init__(self, width, heads, new_order):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = nn.GroupNorm(32, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x, emb):
        n, c, *size = x.shape
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat))
        wide = c // self.heads
        out = []
        for head in range(self.heads):  # one head at a time
            if self.new_order:
                begins = [kind * c + head * wide for kind in range(3)]
            else:
                begins = [(3 * head + kind) * wide for kind in range(3)]
            q, k, v = (qkv[:, begin:begin + wide] for begin in begins)
            weight = torch.einsum('nct,ncs->nts', q, k) / math.sqrt(wide)
            out.append(torch.einsum('nts,ncs->nct', weight.softmax(-1), v))
        return x + self.proj_out(torch.cat(out, 1)).reshape(n, c, *size)


class Resample(nn.Module):

    def __init__(self, width, name):
        super().__init__()
        self.name = name
        setattr(self, name, nn.Conv2d(width, width, 3, padding=1,
                                      stride=2 if name == 'op' else 1))

    def forward(self, x, emb):
        if self.name == 'op':
            return self.op(x)
        return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))


class Plain(nn.Conv2d):

    def forward(self, x, emb):
        return super().forward(x)


class Block(nn.Sequential):

    def forward(self, x, emb):
        for part in self:
            x = part(x, emb)
        return x


class GuidedUNet(nn.Module):
    """The network by guided-diffusion's own flags, each of them given.

    Those of the noise, of training and of sampling change nothing here.
    """

    def __init__(self, image_size, num_channels, num_res_blocks, channel_mult,
                 attention_resolutions, num_heads=4, num_head_channels=-1,
                 resblock_updown=False, use_scale_shift_norm=True,
                 use_new_attention_order=False, class_cond=False,
                 learn_sigma=False, num_heads_upsample=-1, **others):
        assert num_heads_upsample == -1
        super().__init__()
        self.base = num_channels
        emb = 4 * num_channels
        strides = [image_size // size for size in attention_resolutions]

        def residual(width, out, resample=None):
            return Residual(width, out, emb, use_scale_shift_norm, resample)

        def attention(width):
            heads = num_heads if num_head_channels == -1 else \
                width // num_head_channels
            return SelfAttention(width, heads, use_new_attention_order)

        self.time_embed = nn.Sequential(
            nn.Linear(num_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        if class_cond:
            self.label_emb = nn.Embedding(1000, emb)
        width = int(channel_mult[0] * num_channels)
        first, skips, stride = width, [width], 1
        self.input_blocks = nn.ModuleList(
            [Block(Plain(3, width, 3, padding=1))])
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                parts = [residual(width, int(mult * num_channels))]
                width = int(mult * num_channels)
                if stride in strides:
                    parts.append(attention(width))
                self.input_blocks.append(Block(*parts))
                skips.append(width)
            if level < len(channel_mult) - 1:
                self.input_blocks.append(Block(
                    residual(width, width, 'down') if resblock_updown else
                    Resample(width, 'op')))
                skips.append(width)
                stride *= 2
        self.middle_block = Block(residual(width, width), attention(width),
                                  residual(width, width))
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(channel_mult))):
            out = int(channel_mult[level] * num_channels)
            for index in range(num_res_blocks + 1):
                parts = [residual(width + skips.pop(), out)]
                width = out
                if stride in strides:
                    parts.append(attention(width))
                if level and index == num_res_blocks:
                    parts.append(
                        residual(width, width, 'up') if resblock_updown else
                        Resample(width, 'conv'))
                    stride //= 2
                self.output_blocks.append(Block(*parts))
        self.out = nn.Sequential(
            nn.GroupNorm(32, width), nn.SiLU(),
            nn.Conv2d(first, 6 if learn_sigma else 3, 3, padding=1))

    def forward(self, x, timesteps, class_emb=0.):
        half = self.base // 2
        steps = -math.log(10000) * torch.arange(half).float() / half
        angles = timesteps[:, None].float() * steps.exp()
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        emb = self.time_embed(waves.to(x)) + class_emb
        skips = []
        for block in self.input_blocks:
            x = block(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), emb)
        return self.out(x)

    def randomise(self):
        """Weights that no layer leaves as it starts, zeros included."""
        for module in self.modules():
            weight = getattr(module, 'weight', None)
            if weight is None:
                continue
            if isinstance(module, nn.GroupNorm):
                nn.init.normal_(weight, 1., 0.2)
            else:
                fan_in = 1 if isinstance(module, nn.Embedding) else \
                    weight[0].numel()
                nn.init.normal_(weight, 0., fan_in**-0.5)
            if getattr(module, 'bias', None) is not None:
                nn.init.normal_(module.bias, 0., 0.2)
        return self.eval().requires_grad_(False)
