"""S3 servers for the tests: moto in this process, with one empty bucket, and one with another clock."""

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "weights"
KEYS = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret"}


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The variables of the bucket, as the service reads them."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # moto keeps its buckets for the whole process, shared by all its servers.
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    s3_client(endpoint).create_bucket(Bucket=BUCKET)
    yield store_variables(endpoint)
    server.stop()


# S3's bound, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html: RequestTimeTooSkewed.
MAX_SKEW = timedelta(minutes=15)


class ClockCheck(BaseHTTPRequestHandler):
    """Refuses as S3 does what was signed at another time than that of its clock, and has nothing otherwise."""

    ahead = timedelta()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        signed = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        is_skewed = abs(datetime.now(UTC) + self.ahead - signed) > MAX_SKEW
        status, code = (403, "RequestTimeTooSkewed") if is_skewed else (404, "NoSuchKey")
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def s3_with_clock(ahead: timedelta) -> Iterator[dict[str, str]]:
    """The variables of a bucket whose server's clock is ahead of ours."""
    handler = type("Ahead", (ClockCheck,), {"ahead": ahead})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield store_variables(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


def s3_client(endpoint: str):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **KEYS)


def store_variables(endpoint: str) -> dict[str, str]:
    return {
        "S3_ENDPOINT": endpoint,
        "S3_BUCKET": BUCKET,
        "S3_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "S3_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
    }
