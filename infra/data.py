"""DataStack: table, documents, secrets and the key that seals them. The only state; nothing here is ever replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3vectors as s3vectors
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from assistant.storage import SCHEMA
from infra.deployment import SECRETS, Deployment
from infra.review import accept

_COLON: Final = cdk.ArnFormat.COLON_RESOURCE_NAME


class DataStack(cdk.Stack):
    """What must survive every other stack. Logical ids are fixed by hand, because a new one would replace the data."""

    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, env: cdk.Environment) -> None:
        super().__init__(scope, id_, env=env, termination_protection=deployment.keep_data)
        self._stage = deployment.stage
        self._removal = cdk.RemovalPolicy.RETAIN if deployment.keep_data else cdk.RemovalPolicy.DESTROY
        self.key = self._key(deployment)
        self.table = self._table(deployment)
        self.bucket = self._bucket(deployment)
        self.archive = self._archive(deployment) if deployment.log_search else None
        self.vector_index = self._vectors(deployment)
        """`bucket/index` of the passages' vectors; empty without an embedder."""
        self.secrets: Mapping[str, secretsmanager.Secret] = {name: self._secret(name, deployment) for name in SECRETS}
        for name, value in (
            ("TableName", self.table.table_name),
            ("BucketName", self.bucket.bucket_name),
            ("KeyArn", self.key.key_arn),
        ):
            cdk.CfnOutput(self, name, value=value)

    def _key(self, deployment: Deployment) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            alias=f"alias/{deployment.prefix}",
            description=f"Seals conversations, documents and secrets of {deployment.prefix}",
            enable_key_rotation=True,
            removal_policy=self._removal,
        )
        _pin(key, "Key")
        alarms = {"StringEquals": {"aws:SourceAccount": self.account}}
        key.add_to_resource_policy(
            iam.PolicyStatement(  # alarms are published to an encrypted topic
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions=alarms,
            )
        )
        return key

    def _table(self, deployment: Deployment) -> dynamodb.Table:
        text = dynamodb.AttributeType.STRING
        table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name=SCHEMA["partition_key"], type=text),
            sort_key=dynamodb.Attribute(name=SCHEMA["sort_key"], type=text),
            time_to_live_attribute=SCHEMA["ttl"],
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            contributor_insights_specification=dynamodb.ContributorInsightsSpecification(
                enabled=True, mode=dynamodb.ContributorInsightsMode.THROTTLED_KEYS
            ),
            deletion_protection=deployment.keep_data,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            removal_policy=self._removal,
        )
        _pin(table, "Table")
        return table

    def _private(self, name: str, *, lifecycle_rules: Sequence[s3.LifecycleRule], versioned: bool = False) -> s3.Bucket:
        """A bucket that nobody outside reaches, under our own key; kept or removed as the deployment says."""
        bucket = s3.Bucket(
            self,
            name,
            versioned=versioned,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=lifecycle_rules,
            removal_policy=self._removal,
        )
        _pin(bucket, name)
        return bucket

    def _bucket(self, deployment: Deployment) -> s3.Bucket:
        bucket = self._private(
            "Documents",
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=cdk.Duration.days(30),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                ),
                s3.LifecycleRule(prefix="turns/", expiration=cdk.Duration.days(deployment.retention_days)),
                s3.LifecycleRule(  # files that people send on our own page
                    prefix="chat/",
                    expiration=cdk.Duration.days(1),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                ),
            ],
        )
        raw = bucket.node.default_child
        if isinstance(raw, s3.CfnBucket):  # the L2 option would add a function of its own to do the same
            raw.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)
        accept(
            bucket,
            "AwsSolutions-S1",
            "read by our own functions alone; who did is in CloudTrail's data events, where an audit needs them",
        )
        return bucket

    def _archive(self, deployment: Deployment) -> s3.Bucket:
        """Redacted logs."""
        bucket = self._private(
            "Archive",
            lifecycle_rules=[
                s3.LifecycleRule(
                    transitions=[
                        s3.Transition(storage_class=s3.StorageClass.INFREQUENT_ACCESS, transition_after=cdk.Duration.days(30))
                    ],
                    expiration=cdk.Duration.days(max(31, deployment.archive_days)),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                )
            ],
        )
        accept(bucket, "AwsSolutions-S1", "this bucket holds logs; logging who reads them into itself would never end")
        return bucket

    def _vectors(self, deployment: Deployment) -> str:
        """An index of Amazon S3 Vectors for the embedder's vectors, or the one that the deployment names.

        Nothing of an index can be changed later, so its name says what it is made for. Vectors can be computed again from the
        knowledge: nothing is lost with them.
        """
        if given := dict(deployment.settings).get("vector_index"):
            return given
        if not (size := deployment.vector_size):
            return ""
        name, index = f"{deployment.prefix}-vectors", f"passages-{size}"
        encrypted = {"sse_type": "aws:kms", "kms_key_arn": self.key.key_arn}
        # Source: docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-data-encryption.html
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("indexing.s3vectors.amazonaws.com")],
                actions=["kms:Decrypt"],
                resources=["*"],
                conditions={
                    "StringEquals": {"aws:SourceAccount": self.account},
                    "ArnLike": {"aws:SourceArn": self.format_arn(service="s3vectors", resource="bucket", resource_name="*")},
                },
            )
        )
        bucket = s3vectors.CfnVectorBucket(
            self,
            "Vectors",
            vector_bucket_name=name,
            encryption_configuration=s3vectors.CfnVectorBucket.EncryptionConfigurationProperty(**encrypted),
        )
        passages = s3vectors.CfnIndex(
            self,
            f"VectorIndex{size}",
            vector_bucket_name=name,
            index_name=index,
            data_type="float32",
            dimension=size,
            distance_metric="cosine",
        )
        passages.node.add_dependency(bucket)
        for resource in (bucket, passages):
            resource.apply_removal_policy(self._removal)
        return f"{name}/{index}"

    def _secret(self, name: str, deployment: Deployment) -> secretsmanager.Secret:
        # Generated, never written in the template: a later deployment then cannot overwrite what an operator has stored.
        field = "api_key" if name == "webchat" else "not_configured"
        secret = secretsmanager.Secret(
            self,
            f"Secret-{name}",
            secret_name=deployment.secret_names[name],
            description=f"Credentials for {name}; store one JSON object, see docs/platforms/",
            encryption_key=self.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template="{}",  # noqa: S106  # an empty object, to which the generated field is added
                generate_string_key=field,
                exclude_punctuation=True,
                password_length=40,
            ),
            removal_policy=self._removal,
        )
        _pin(secret, f"Secret{name.title()}")
        accept(
            secret,
            "AwsSolutions-SMG4",
            "the vendor issues these credentials; docs/operations.md has the rotation of each, without downtime",
        )
        return secret

    def allow_secrets(self, role: iam.Role, *names: str) -> None:
        """Lets `role` read the secrets called `names`."""
        secrets = [self.secrets[name].secret_arn for name in names]
        role.add_to_principal_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=secrets))
        self._allow_key(role, "secretsmanager", "kms:Decrypt")

    def allow_further_secrets(self, role: iam.Role, *kinds: str) -> None:
        """Lets `role` read the secrets that operators add by name: `oauth-PROVIDER` and `plugin-NAME` are the kinds there are.

        Also those that are not there: Secrets Manager says so only to a role that may read them.
        """
        names = [f"assistant/{self._stage}/{kind}-*" for kind in kinds]
        arns = [
            self.format_arn(service="secretsmanager", resource="secret", resource_name=name, arn_format=_COLON) for name in names
        ]
        role.add_to_principal_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=arns))
        for name in names:
            region = "<AWS::Region>" if cdk.Token.is_unresolved(self.region) else self.region
            account = "<AWS::AccountId>" if cdk.Token.is_unresolved(self.account) else self.account
            where = f"arn:<AWS::Partition>:secretsmanager:{region}:{account}:secret:{name}"
            reason = "secrets of our own stage that operators add; their names are not known before"
            accept(role, f"AwsSolutions-IAM5[Resource::{where}]", reason)

    def allow_table(self, role: iam.Role, *actions: str) -> None:
        """Lets `role` call the DynamoDB `actions` on the table, for example "Query"; what changes or removes items never on the
        audit log, which is only ever added to."""
        changing = [a for a in actions if a in ("UpdateItem", "DeleteItem")]
        for names, conditions in (
            ([a for a in actions if a not in changing], None),
            (changing, {"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": ["AUDIT#*"]}}),
        ):
            if names:
                role.add_to_principal_policy(
                    iam.PolicyStatement(
                        actions=[f"dynamodb:{a}" for a in names], resources=[self.table.table_arn], conditions=conditions
                    )
                )
        # Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        actions_on_key = ("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo")
        self._allow_key(role, "dynamodb", *(f"kms:{a}" for a in actions_on_key))

    def allow_room(self, role: iam.Role, partition: str) -> None:
        """Lets `role` read and write the items of one partition of the table."""
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=[f"dynamodb:{a}" for a in ("GetItem", "Query", "PutItem", "DeleteItem")],
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [partition]}},
            )
        )
        self._allow_key(role, "dynamodb", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey")

    def allow_documents(self, role: iam.Role, *, write: bool, purge: bool = False) -> None:
        """Lets `role` read the documents and knowledge versions, `write` them, and `purge` them: S3 keeps no older version."""
        actions = ["s3:GetObject", *(["s3:PutObject", "s3:DeleteObject"] if write else [])]
        actions += ["s3:DeleteObjectVersion"] if purge else []
        listing = ["s3:ListBucket", *(["s3:ListBucketVersions"] if purge else [])]
        role.add_to_principal_policy(iam.PolicyStatement(actions=actions, resources=[self.bucket.arn_for_objects("*")]))
        role.add_to_principal_policy(iam.PolicyStatement(actions=listing, resources=[self.bucket.bucket_arn]))
        self._allow_key(role, "s3", "kms:Decrypt", *(["kms:GenerateDataKey"] if write else []))
        exported = f"Resource::{self.stack_name}:ExportsOutputFnGetAttDocumentsArn9D87F4A8/*"
        accept(role, f"AwsSolutions-IAM5[{exported}]", "objects of our own bucket; their names are not known before")

    def allow_vectors(self, role: iam.Role, *actions: str) -> None:
        """Lets `role` call the S3 Vectors `actions` on the index, for example "QueryVectors"; nothing without an index."""
        if not self.vector_index:
            return
        bucket, _, index = self.vector_index.partition("/")
        place = self.format_arn(service="s3vectors", resource="bucket", resource_name=f"{bucket}/index/{index}")
        role.add_to_principal_policy(iam.PolicyStatement(actions=[f"s3vectors:{a}" for a in actions], resources=[place]))
        writes = {"PutVectors", "DeleteVectors"} & set(actions)
        self._allow_key(role, "s3vectors", "kms:Decrypt", *(["kms:GenerateDataKey"] if writes else []))

    def allow_envelopes(self, role: iam.Role) -> None:
        """Lets `role` seal and open people's tokens with data keys of the customer key."""
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[self.key.key_arn])
        )

    def _allow_key(self, role: iam.Role, service: str, *actions: str) -> None:
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(actions),
                resources=[self.key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"{service}.{self.region}.amazonaws.com"}},
            )
        )


def _pin(construct: Construct, logical_id: str) -> None:
    child = construct.node.default_child
    assert isinstance(child, cdk.CfnResource)  # noqa: S101  # every construct pinned here has one
    child.override_logical_id(logical_id)
