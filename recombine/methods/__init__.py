"""Every method by its short name."""

from recombine.methods.ifcvaegan import Config as IFcVAEGANConfig
from recombine.methods.ifcvaegan import IFcVAEGAN

METHODS = {"ifcvaegan": (IFcVAEGAN, IFcVAEGANConfig)}
