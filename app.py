"""`python app.py` (or `cdk deploy --all`): reads the environment once and composes the stacks for one Deployment."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra import node

node.choose(os.environ)  # the bridge to Node starts when aws_cdk is imported

import aws_cdk as cdk  # noqa: E402
from cdk_nag import AwsSolutionsChecks  # noqa: E402

from assistant.errors import InvalidSetting  # noqa: E402
from infra.bundle import Bundle, BundleError, build  # noqa: E402
from infra.data import DataStack  # noqa: E402
from infra.deployment import CONFIGURATIONS, Deployment, context_names, stored  # noqa: E402
from infra.edge import EdgeStack  # noqa: E402
from infra.inference import InferenceStack  # noqa: E402
from infra.observability import ObservabilityStack  # noqa: E402
from infra.runtime import RuntimeStack  # noqa: E402


def compose(app: cdk.App, deployment: Deployment, bundle: Bundle) -> None:
    """Adds every stack of `deployment` to `app`."""
    env = cdk.Environment(account=deployment.account or None, region=deployment.region or None)
    title = deployment.prefix
    data = DataStack(app, f"{title}-data", deployment=deployment, env=env)
    runtime = RuntimeStack(app, f"{title}-runtime", data=data, deployment=deployment, bundle=bundle, env=env)
    if deployment.gpu_profile:
        InferenceStack(app, f"{title}-inference", data=data, deployment=deployment, env=env)
    ObservabilityStack(app, f"{title}-observability", data=data, runtime=runtime, deployment=deployment, bundle=bundle, env=env)
    if deployment.edge:
        host = deployment.domain or cdk.Fn.select(2, cdk.Fn.split("/", runtime.api.api_endpoint))
        front = cdk.Environment(account=env.account, region="us-east-1" if env.region else None)
        EdgeStack(app, f"{title}-edge", api_host=host, deployment=deployment, env=front)
    cdk.Tags.of(app).add("assistant:stage", deployment.stage)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))


_PATHS: Final = "aws:cdk:enable-path-metadata"
"""Templates say which construct made what; cdk.json may not hold names that begin so."""


def application(*, outdir: str | None = None, context: Mapping[str, str] | None = None) -> cdk.App:
    """An app with the context of cdk.json, under what the CDK's command line or `context` gives."""
    settled = json.loads(Path(__file__).with_name("cdk.json").read_text())["context"]
    return cdk.App(outdir=outdir, context={_PATHS: "true", **settled, **(context or {})})


def described(app: cdk.App, *, configurations: Path | None = CONFIGURATIONS) -> Deployment:
    """The deployment that the app's context, the stage's file in `configurations` and the environment describe, the first before
    the others; raises InvalidSetting."""
    given = {name: value for name in context_names() if (value := app.node.try_get_context(name)) is not None}
    kept = stored(str(given.get("stage") or "dev"), configurations) if configurations else {}
    return Deployment.of({**kept, **given}, env=os.environ)


def main(argv: Sequence[str] | None = None) -> int:
    """Synthesises the stacks into the cloud assembly; exit status 2 for a deployment that cannot be."""
    parser = argparse.ArgumentParser(prog="python app.py", description=__doc__)
    parser.add_argument("--profile", help="basic (default) or enterprise")
    parser.add_argument("--stage", help="dev (default), staging, production or a name of your own")
    parser.add_argument("--out", help="folder of the cloud assembly (default: build/cdk.out)")
    args = parser.parse_args(argv)
    outdir = args.out or os.environ.get("CDK_OUTDIR") or str(Path(__file__).with_name("build") / "cdk.out")
    app = application(outdir=outdir, context={k: v for k in ("profile", "stage") if (v := getattr(args, k))})
    try:
        compose(app, described(app), build())
    except InvalidSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{app.synth().directory}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
