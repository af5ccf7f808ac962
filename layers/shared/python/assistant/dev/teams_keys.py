"""Tokens for recorded Teams requests: the real ones cannot be kept, so each replay signs with a key that it publishes itself."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KID: Final = "key-of-the-replay"


@functools.cache
def _key() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@contextmanager
def signed(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`line` with a good token in it and the address of the keys in its secrets, served while the context lasts."""
    import jwt

    body = json.loads(line["request"]["body"])
    now = int(line["now"])
    claims = {
        "iss": "https://api.botframework.com",
        "aud": line["secrets"].get("app_id", ""),
        "nbf": now - 10,
        "exp": now + 3600,
        "serviceurl": str(body.get("serviceUrl", "")),
    }
    token = jwt.encode(claims, _key(), algorithm="RS256", headers={"kid": KID})
    headers = {**line["request"]["headers"], "authorization": f"Bearer {token}"}
    with _published() as url:
        secrets = {**line["secrets"], "openid_metadata": url}
        yield {**line, "request": {**line["request"], "headers": headers}, "secrets": secrets}


@contextmanager
def _published() -> Iterator[str]:
    from jwt.algorithms import RSAAlgorithm

    public = json.loads(RSAAlgorithm.to_jwk(_key().public_key()))
    keys = {"keys": [{**public, "kid": KID, "use": "sig", "endorsements": ["msteams"]}]}

    class Http(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://{self.headers.get('host', '')}"
            content = json.dumps(keys if self.path == "/keys" else {"jwks_uri": f"{base}/keys"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metadata"
    finally:
        server.shutdown()
        server.server_close()
