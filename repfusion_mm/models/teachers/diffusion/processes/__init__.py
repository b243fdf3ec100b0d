"""How a family noises an image to the level of t, and what it calls t."""
from .ddpm import DDPMProcess
from .edm import EDMProcess
from .flow import FlowProcess
from .process import ForwardProcess

__all__ = ['DDPMProcess', 'EDMProcess', 'FlowProcess', 'ForwardProcess']
