# The default runtime under the names of mmseg.
_base_ = './default_runtime.py'

default_scope = 'mmseg'
default_hooks = dict(
    visualization=dict(_delete_=True, type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer')
sync_bn = 'torch'  # on several GPUs: batches are small
