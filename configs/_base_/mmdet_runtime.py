# The default runtime under the names of mmdet.
_base_ = './default_runtime.py'

default_scope = 'mmdet'
default_hooks = dict(
    visualization=dict(_delete_=True, type='DetVisualizationHook'))
visualizer = dict(type='DetLocalVisualizer')
sync_bn = 'torch'  # on several GPUs: batches are small
