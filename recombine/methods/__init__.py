"""Every method by its short name."""

from recombine.methods import advattr, ifcvaegan, mad, matdr, rodi

METHODS = {
    "advattr": (advattr.AdvAttr, advattr.Config),
    "mad": (mad.MAD, mad.Config),
    "ifcvaegan": (ifcvaegan.IFcVAEGAN, ifcvaegan.Config),
    "rodi": (rodi.RoDi, rodi.Config),
    "matdr": (matdr.MATDR, matdr.Config),
}
