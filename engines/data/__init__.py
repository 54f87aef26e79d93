"""Pictures and labels: readers of the published layout, checks, splits, augmentation. numpy and cv2 only.

Public (docs/api.md): `read_split` and its `SplitData`, `check_data`, `plan_split` and `write_split`, `export_labels`.
"""

from typing import TYPE_CHECKING

from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.data.check import check as check_data
    from engines.data.export import export as export_labels
    from engines.data.leukemiaattri import SplitData, read_split
    from engines.data.splits import plan as plan_split
    from engines.data.splits import write_plan as write_split

__all__ = ["SplitData", "check_data", "export_labels", "plan_split", "read_split", "write_split"]
__getattr__ = lazy(
    __name__,
    SplitData="leukemiaattri",
    check_data="check:check",
    export_labels="export:export",
    plan_split="splits:plan",
    read_split="leukemiaattri",
    write_split="splits:write_plan",
)
