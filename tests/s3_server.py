"""A real S3 server in a process of its own: moto's, on a free port of this machine."""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import botocore.session

_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")

KEY, SECRET = "test", "test"  # moto asks nobody who they are, unless told to
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """An S3 server that is running.

    Args:
        url: where it listens.
    """

    url: str

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"bucket-{secrets.token_hex(4)}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def client(self, service: str) -> Any:
        """A plain client that nothing under test uses."""
        return _client(self.url, service)

    def keys(self, bucket: str) -> list[str]:
        """The names of all objects in a bucket."""
        listed = self.client("s3").list_objects_v2(Bucket=bucket)
        return [item["Key"] for item in listed.get("Contents", [])]

    def reader(self) -> tuple[str, str]:
        """Access key and secret of a new user who may look at everything and write nothing."""
        iam, name = self.client("iam"), f"reader-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
        }
        iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Inside, every request needs the key of a user who may do what it asks."""
        self._check_from(0)
        try:
            yield
        finally:
            self._check_from(float("inf"))

    def _check_from(self, request: float) -> None:
        address = f"{self.url}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        asked = urllib.request.Request(address, str(request).encode(), plain)
        with urllib.request.urlopen(asked):
            pass


@functools.cache
def _client(url: str, service: str) -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Starts a server, and ends it."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            address = _address(process)
            # It logs every request, and would wait for a reader.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield S3Server(address)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if match := _RUNNING.search(line):
            return match[1]
    raise AssertionError("the S3 server did not start:\n" + "".join(lines))
