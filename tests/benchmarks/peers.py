"""What we are measured beside, each as its own documentation shows it: handlers that Lambda would call."""

PEERS: dict[str, str] = {
    "empty function": '''
def handler(event, context):
    return {"statusCode": 200}
''',
    "one boto3 client": '''
import boto3
client = boto3.client("sqs", region_name="us-east-1")

def handler(event, context):
    return {"statusCode": 200}
''',
    "slack_bolt": '''
from slack_bolt import App
from slack_bolt.adapter.aws_lambda import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult

def authorize(**_):
    return AuthorizeResult(enterprise_id=None, team_id="T1", bot_token="xoxb-0", bot_id="B1", bot_user_id="UBOT")

app = App(process_before_response=True, signing_secret="s" * 32, authorize=authorize)

@app.event("message")
def said(event):
    pass

def handler(event, context):
    return SlackRequestHandler(app=app).handle(event, context)
''',
    "lark-oapi": '''
import lark_oapi as lark
from lark_oapi.core.model import RawRequest

def said(data):
    pass

dispatcher = lark.EventDispatcherHandler.builder("k", "v").register_p2_im_message_receive_v1(said).build()

def handler(event, context):
    request = RawRequest()
    request.uri = event["rawPath"]
    request.body = event["body"].encode()
    request.headers = {{"x-lark-request-timestamp": "X-Lark-Request-Timestamp", "x-lark-request-nonce": "X-Lark-Request-Nonce",
                        "x-lark-signature": "X-Lark-Signature"}.get(k, k): v for k, v in event["headers"].items()}
    answer = dispatcher.do(request)
    return {"statusCode": answer.status_code, "body": answer.content.decode()}
''',
    "FastAPI + Mangum + boto3": '''
import boto3
from fastapi import FastAPI, Request
from mangum import Mangum

app = FastAPI()
client = boto3.client("sqs", region_name="us-east-1")

@app.post("/webhook/{platform}/{channel}")
async def webhook(platform: str, channel: str, request: Request):
    await request.body()
    return {}

handler = Mangum(app, lifespan="off")
''',
}  # fmt: skip
"""Name → source of a module with `handler(event, context)`."""

NEEDS: dict[str, tuple[str, ...]] = {
    "empty function": (),
    "one boto3 client": ("boto3",),
    "slack_bolt": ("slack_bolt", "boto3"),
    "lark-oapi": ("lark-oapi",),
    "FastAPI + Mangum + boto3": ("fastapi", "mangum", "boto3"),
}
"""Name → packages that it is deployed with; slack_bolt's adapter for Lambda imports boto3, which Lambda itself brings."""
