"""Breaks a tiny study in many ways, and compares what the next run gives with an undisturbed one: `make faults`.

Each fault is a function that takes a `Trial`: `processes.py` kills and stops, `disks.py` fills and damages,
`network.py` serves bad archives, `stores.py` breaks MLflow. After each, `trial.py` calls the same command again, and
compares all that the study holds (`outcome.py`) with what it should (`study.py`). `__main__.py` writes
docs/reliability.md.
"""

from faults import disks, network, processes, stores
from faults.trial import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (processes, disks, network, stores) for fault in module.FAULTS
}
