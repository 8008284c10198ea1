"""An S3 server for the tests: moto in this process, with one empty bucket."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

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


def s3_client(endpoint: str):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **KEYS)


def store_variables(endpoint: str) -> dict[str, str]:
    return {
        "S3_ENDPOINT": endpoint,
        "S3_BUCKET": BUCKET,
        "S3_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "S3_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
    }
