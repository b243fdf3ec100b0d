# The default runtime under the names of mmpose.
_base_ = './default_runtime.py'

default_scope = 'mmpose'
default_hooks = dict(
    visualization=dict(
        _delete_=True, type='PoseVisualizationHook', enable=False))
# with OpenCV, mmpose 1.3.2 cannot draw a keypoint on NumPy 2.4 and newer
visualizer = dict(type='PoseLocalVisualizer', backend='matplotlib')
