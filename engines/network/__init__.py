"""Networks in torch as files and engines: checkpoints, weights, weights of others. Importing this package imports torch; the appliance
never does. The networks themselves are in `engines.families`.
"""

from engines.families.attridet.attribute_head import AttributeHead
from engines.families.attridet.attridet import AttriDet, copy_fitting, unknown_to, without_variances
from engines.families.attridet.yolov5 import ANCHORS_PX, STRIDES, VARIANTS, Prediction, Taps, YOLOv5
from engines.families.roi_align import roi_align

__all__ = [
    "ANCHORS_PX",
    "STRIDES",
    "VARIANTS",
    "AttriDet",
    "AttributeHead",
    "Prediction",
    "Taps",
    "YOLOv5",
    "copy_fitting",
    "roi_align",
    "unknown_to",
    "without_variances",
]
