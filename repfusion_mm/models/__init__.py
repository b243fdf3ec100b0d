from .backbones import *  # noqa: F401,F403
from .connections import *  # noqa: F401,F403
from .distillers import *  # noqa: F401,F403
from .dpm import *  # noqa: F401,F403
from .losses import *  # noqa: F401,F403
from .rewards import *  # noqa: F401,F403
from .teachers import *  # noqa: F401,F403
from .time_samplers import *  # noqa: F401,F403
