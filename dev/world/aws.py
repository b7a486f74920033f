"""boto3 clients of the running world; the endpoints come from the environment."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

QUICK = Config(retries={"max_attempts": 2, "mode": "standard"}, connect_timeout=5, read_timeout=60,
               s3={"addressing_style": "path"})


@cache
def client(service: str, region: str | None = None, endpoint: str | None = None) -> Any:
    """A client, made once; region and endpoint are those of the environment unless given."""
    make: Any = boto3.client  # typed for names that are written out
    return make(service, region_name=region, endpoint_url=endpoint, config=QUICK)


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as RDS and SNS write them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
