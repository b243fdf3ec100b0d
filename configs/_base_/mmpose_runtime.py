# The default runtime under the names of mmpose.
_base_ = './default_runtime.py'

default_scope = 'mmpose'
default_hooks = dict(
    visualization=dict(
        _delete_=True, type='PoseVisualizationHook', enable=False))
visualizer = dict(type='PoseLocalVisualizer')
