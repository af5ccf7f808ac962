"""What the security review accepts, each with its reason."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct


def accept(construct: IConstruct, finding: str, reason: str) -> None:
    """Keeps the rule `finding` of cdk-nag quiet under `construct`, because of `reason`.

    Places in it are written as they are found without an account, as `<AWS::Region>`; with one, as in every real deployment, a
    finding names them, where that was not left to CloudFormation.
    """
    stack = cdk.Stack.of(construct)
    named = finding
    for token, value in (("Partition", stack.partition), ("Region", stack.region), ("AccountId", stack.account)):
        if not cdk.Token.is_unresolved(value):
            named = named.replace(f"<AWS::{token}>", value)
    for id_ in dict.fromkeys((finding, named)):
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=id_, reason=reason))
