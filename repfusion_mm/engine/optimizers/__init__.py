from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .task_optim_wrapper_constructor import TaskOptimWrapperConstructor

__all__ = ['BFloat16OptimWrapper', 'TaskOptimWrapperConstructor']
