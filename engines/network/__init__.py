"""The networks in torch: YOLOv5 and AttriDet. Importing this package imports torch; the appliance never does."""

from engines.network.attribute_head import AttributeHead
from engines.network.attridet import AttriDet, copy_fitting, unknown_to, without_variances
from engines.network.roi_align import roi_align
from engines.network.yolov5 import ANCHORS_PX, STRIDES, VARIANTS, Prediction, Taps, YOLOv5

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
