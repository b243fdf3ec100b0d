from .fixed_time import FixedTime
from .policies import ConstantPolicy, LeNetPolicy
from .reinforced_time import ReinforcedTime
from .time_sample import TimeSample
from .uniform_time import UniformTime

__all__ = ['ConstantPolicy', 'FixedTime', 'LeNetPolicy', 'ReinforcedTime',
           'TimeSample', 'UniformTime']
