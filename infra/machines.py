"""GPU instances by the size of their memory. Imports no CDK."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infra.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A SageMaker instance type and what one copy of the engine needs of it."""

    instance: str
    gpus: int
    cores: int
    """Processor cores of one copy."""
    memory_mb: int
    """Main memory that one copy is promised."""


MACHINES: Final[Mapping[str, Machine]] = {
    "24gb": Machine(instance="ml.g6.2xlarge", gpus=1, cores=4, memory_mb=16 * 1024),
    "48gb": Machine(instance="ml.g6e.2xlarge", gpus=1, cores=4, memory_mb=32 * 1024),
    "80gb": Machine(instance="ml.p5.4xlarge", gpus=1, cores=8, memory_mb=96 * 1024),
    "141gb": Machine(instance="ml.p5en.48xlarge", gpus=8, cores=16, memory_mb=160 * 1024),
}
"""By the size in a profile's name."""


def machine_of(deployment: Deployment) -> tuple[str, int]:
    """Instance type of the deployment's model, and how many of them it may run at a peak."""
    machine = MACHINES[deployment.gpu_profile.partition("-")[0]]
    return deployment.gpu_instance or machine.instance, math.ceil(deployment.gpu_copies_max / machine.gpus)
