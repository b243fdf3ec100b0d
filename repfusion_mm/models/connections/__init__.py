from .connection import Connection
from .top_down_regressor import TopDownRegressor

__all__ = ['Connection', 'TopDownRegressor']
