"""One training step as it was published, to measure speed against.

Written plainly from the description of the method, in one file, and not to be
improved: the whole denoiser runs in float32, its middle layer is read by a
hook, and nothing is compiled.
"""
import copy

import torch
import torch.nn.functional as F
from torch import nn


class PublishedStep:
    """Student, denoiser, policy and classifier of a published run.

    Args:
        model (RepFusion): Whose student, projector, policy and classifier are
            copied, so that both compute the same losses.
        denoiser (nn.Module): The whole denoiser of its teacher.
        optimizer (dict): Arguments of ``torch.optim.SGD``.
    """

    def __init__(self, model, denoiser, optimizer):
        self.backbone = copy.deepcopy(model.backbone)
        connection = model.connections[0]
        self.projector = copy.deepcopy(connection.projector)
        self.pool = not connection.loss.needs_maps
        self.distance = connection.loss.distance
        self.weight = connection.loss.loss_weight
        self.tap = connection.teacher_tap
        self.preprocessor = model.data_preprocessor
        self.low, self.high = model.teacher.input_range
        self.denoiser = denoiser.eval().requires_grad_(False)
        self.policy = copy.deepcopy(getattr(model.time_sampler, 'policy',
                                            None))
        self.classifier = copy.deepcopy(getattr(model.reward, 'classifier',
                                                None))
        parts = [self.backbone, self.projector, self.policy, self.classifier]
        self.optimizer = torch.optim.SGD(
            nn.ModuleList(part for part in parts if part).parameters(),
            **optimizer)

    def losses(self, data, timesteps=None):
        """The losses of a batch; draws the time steps if none are given."""
        data = self.preprocessor(data, True)
        inputs = data['inputs']
        labels = torch.cat([sample.gt_label for sample in
                            data['data_samples']])
        images = inputs * self.preprocessor.std + self.preprocessor.mean

        policy_losses = {}
        if self.policy is not None:
            distribution = torch.distributions.Categorical(
                logits=self.policy(images))
            if timesteps is None:
                timesteps = distribution.sample()
        elif timesteps is None:
            timesteps = torch.zeros_like(labels)

        features = {}
        hook = self.denoiser.get_submodule(self.tap).register_forward_hook(
            lambda module, args, output: features.update(z=output))
        with torch.no_grad():
            self.denoiser(images * ((self.high - self.low) / 255) + self.low,
                          timesteps)
        hook.remove()
        z = features['z']

        student = self.projector(self.backbone(inputs)[-1])
        if self.pool:
            loss_feature = self.distance(student.mean((2, 3)), z.mean((2, 3)))
        else:
            student = F.interpolate(student, z.shape[2:], mode='bilinear',
                                    align_corners=False)
            loss_feature = self.distance(student, z)

        if self.policy is not None:
            entropies = F.cross_entropy(
                self.classifier(z.mean((2, 3))), labels, reduction='none')
            reward = -entropies.detach()
            policy_losses = dict(
                loss_reward=entropies.mean(),
                loss_policy=-(distribution.log_prob(timesteps) *
                              reward).mean(),
                loss_entropy=-0.1 * distribution.entropy().mean())
        return dict(loss_feature=self.weight * loss_feature, **policy_losses)

    def step(self, data):
        """One step of training."""
        loss = sum(self.losses(data).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
