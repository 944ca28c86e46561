"""Signatures against the examples of Amazon's S3 API reference."""

from __future__ import annotations

import datetime

import pytest

from tsl.model_store.aws_signature import AwsCredentials, is_s3
from tsl.protocol.errors import InvalidParameter

AT = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "https://examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("target", "signature"),
    [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "?prefix=J&max-keys=2",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_of_the_reference(target, signature):
    headers = AwsCredentials.of(ENVIRON).sign(BUCKET + target, AT)

    assert headers["host"] == "examplebucket.s3.amazonaws.com"
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_a_path_is_signed_as_it_is_meant_however_it_is_written():
    sign = AwsCredentials.of(ENVIRON).sign

    assert sign(f"{BUCKET}/a%20b/c~d.mar", AT) == sign(f"{BUCKET}/a b/c%7Ed.mar", AT)
    assert sign(f"{BUCKET}/x", AT) != sign(f"{BUCKET}/y", AT)


def test_a_port_is_part_of_the_host():
    sign = AwsCredentials.of(ENVIRON).sign

    assert sign("https://s3.amazonaws.com:443/x", AT) == sign("https://s3.amazonaws.com/x", AT)
    assert sign("https://s3.amazonaws.com:9000/x", AT) != sign("https://s3.amazonaws.com/x", AT)


def test_a_session_token_is_sent_and_signed():
    headers = AwsCredentials.of({**ENVIRON, "AWS_SESSION_TOKEN": "token"}).sign(BUCKET, AT)

    assert headers["x-amz-security-token"] == "token"
    assert "x-amz-date;x-amz-security-token," in headers["Authorization"]


def test_what_is_missing_is_named_and_no_secret_shown():
    with pytest.raises(InvalidParameter, match="s3_sse_kms needs AWS_DEFAULT_REGION in"):
        AwsCredentials.of({**ENVIRON, "AWS_DEFAULT_REGION": ""})

    assert ENVIRON["AWS_SECRET_ACCESS_KEY"] not in repr(AwsCredentials.of(ENVIRON))


@pytest.mark.parametrize(
    ("url", "is_aws"),
    [
        (BUCKET, True),
        ("https://b.S3.eu-central-1.AMAZONAWS.COM/x", True),
        ("https://s3.cn-north-1.amazonaws.com.cn/b/x", True),
        ("https://amazonaws.com.evil.example/x", False),
        ("https://evilamazonaws.com/x", False),
        ("http://127.0.0.1/x", False),
    ],
)
def test_only_aws_is_aws(url, is_aws):
    assert is_s3(url) is is_aws
