"""Small detectors of mmdet's families, and samples for them."""
import torch
from mmengine.config import ConfigDict

SIZE = (64, 96)
PREPROCESSOR = dict(type='DetDataPreprocessor', mean=[123.7, 116.3, 103.5],
                    std=[58.4, 57.1, 57.4], bgr_to_rgb=True,
                    pad_size_divisor=32)
RESNET = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8,
              out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN'),
              norm_eval=False)
PYRAMID = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16,
               start_level=1, add_extra_convs='on_output', num_outs=5)
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                min_pos_iou=0, ignore_iof_thr=-1)
NMS = dict(nms_pre=100, min_bbox_size=0, score_thr=0.,
           nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25,
             loss_weight=1.0)


def single_stage(name, head, **more):
    return dict(
        type=f'mmdet.{name}', data_preprocessor=PREPROCESSOR,
        backbone=RESNET, neck=PYRAMID,
        bbox_head=dict(num_classes=3, in_channels=16, feat_channels=16,
                       stacked_convs=1, **head),
        test_cfg=NMS, **more)


def retinanet():
    return single_stage('RetinaNet', dict(
        type='RetinaHead',
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=FOCAL,
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        train_cfg=dict(assigner=ASSIGNER,
                       sampler=dict(type='PseudoSampler'),
                       allowed_border=-1, pos_weight=-1, debug=False))


def fcos():
    return single_stage('FCOS', dict(
        type='FCOSHead', strides=[8, 16, 32, 64, 128],
        norm_cfg=dict(type='GN', num_groups=4), loss_cls=FOCAL,
        loss_bbox=dict(type='IoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True,
                             loss_weight=1.0)))


def rtmdet():
    return dict(
        type='mmdet.RTMDet',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675],
            std=[57.375, 57.12, 58.395], bgr_to_rgb=False,
            pad_size_divisor=32),
        backbone=dict(
            type='CSPNeXt', arch='P5', expand_ratio=0.5, deepen_factor=0.167,
            widen_factor=0.125, channel_attention=True,
            norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')),
        neck=dict(
            type='CSPNeXtPAFPN', in_channels=[32, 64, 128], out_channels=32,
            num_csp_blocks=1, expand_ratio=0.5, norm_cfg=dict(type='BN'),
            act_cfg=dict(type='SiLU')),
        bbox_head=dict(
            type='RTMDetSepBNHead', num_classes=3, in_channels=32,
            stacked_convs=2, feat_channels=32, with_objectness=False,
            exp_on_reg=False, share_conv=True, pred_kernel_size=1,
            anchor_generator=dict(type='MlvlPointGenerator', offset=0,
                                  strides=[8, 16, 32]),
            bbox_coder=dict(type='DistancePointBBoxCoder'),
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True,
                          beta=2.0, loss_weight=1.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')),
        train_cfg=dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
                       allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=NMS)


def faster_rcnn():
    rpn = dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4],
                              ratios=[0.5, 1.0, 2.0],
                              strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True,
                      loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0))
    roi = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', out_channels=16,
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            featmap_strides=[4, 8, 16, 32]),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32,
            roi_feat_size=7, num_classes=3,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            reg_class_agnostic=False,
            loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)))
    # all boxes are sampled: none is drawn at random
    sampler = dict(type='RandomSampler', num=100000, pos_fraction=1.,
                   neg_pos_ub=-1, add_gt_as_proposals=False)
    proposals = dict(nms_pre=200, max_per_img=20, min_bbox_size=0,
                     nms=dict(type='nms', iou_threshold=0.7))
    return dict(
        type='mmdet.FasterRCNN', data_preprocessor=PREPROCESSOR,
        backbone=RESNET,
        neck=dict(PYRAMID, start_level=0, add_extra_convs=False),
        rpn_head=rpn, roi_head=roi,
        train_cfg=dict(
            rpn=dict(assigner=dict(ASSIGNER, neg_iou_thr=0.3,
                                   pos_iou_thr=0.7, min_pos_iou=0.3),
                     sampler=sampler, allowed_border=-1, pos_weight=-1,
                     debug=False),
            rpn_proposal=proposals,
            rcnn=dict(assigner=dict(ASSIGNER, neg_iou_thr=0.5,
                                    min_pos_iou=0.5),
                      sampler=dict(sampler, add_gt_as_proposals=True),
                      pos_weight=-1, debug=False)),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(score_thr=0., max_per_img=10,
                      nms=dict(type='nms', iou_threshold=0.5))))


FAMILIES = dict(retinanet=retinanet, fcos=fcos, faster_rcnn=faster_rcnn,
                rtmdet=rtmdet)


def boxes(kinds, size=SIZE):
    """Samples: a number of boxes each; None is unlabelled."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    samples = []
    for number in kinds:
        corners = torch.rand(number or 0, 2, 2) * torch.tensor(
            [size[1] / 2, size[0] / 2])
        found = torch.cat([corners[:, 0], corners[:, 0] + 12 +
                           corners[:, 1]], 1)
        sample = DetDataSample(metainfo=dict(
            img_shape=size, ori_shape=size, pad_shape=size,
            batch_input_shape=size, scale_factor=(1., 1.)))
        if number is None:
            sample.set_metainfo(dict(unlabelled=True))
        sample.gt_instances = InstanceData(
            bboxes=found, labels=torch.arange(number or 0) % 3)
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        samples.append(sample)
    return samples


def joint_config(task, teacher, **parts):
    last = 'backbone.stage4' if task['type'] == 'mmdet.RTMDet' else \
        'backbone.layer4'
    return ConfigDict({**dict(
        type='repfusion_mm.JointRepFusion', task=task,
        channel_order='bgr' if task['type'] == 'mmdet.RTMDet' else 'rgb',
        teacher=dict(type='repfusion_mm.UNetTeacher', pretrained=teacher),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap=last,
                          teacher_tap='mid_block.resnets.1',
                          loss=dict(type='repfusion_mm.HintLoss'))]),
        **parts})
