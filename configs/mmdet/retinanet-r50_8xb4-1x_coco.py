# Stage 2 on COCO: the baseline, RetinaNet on a ResNet-50 from scratch.
_base_ = ['../_base_/models/retinanet_r50.py',
          '../_base_/datasets/coco_detection.py',
          '../_base_/schedules/sgd_1x.py',
          '../_base_/mmdet_runtime.py']
