from .task_optim_wrapper_constructor import TaskOptimWrapperConstructor

__all__ = ['TaskOptimWrapperConstructor']
