"""boto3 against the emulator: what works, and which code each refusal has."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from mypy_boto3_s3.client import S3Client

from component.coreweave.world import MINT, PRINCIPAL, ZONE, Keys, World


@contextmanager
def refused(code: str, status: int) -> Iterator[list[str]]:
    """Expect a ClientError; the message is in the list afterwards."""
    message: list[str] = []
    with pytest.raises(ClientError) as error:
        yield message
    found = error.value.response
    assert (found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    message.append(found["Error"].get("Message", ""))


@pytest.fixture
def keys(world: World) -> Keys:
    """Keys of a principal that may do everything."""
    world.grant("s3:*", MINT)
    return world.keys()


@pytest.fixture(params=[False, True], ids=["http", "https"])
def s3(world: World, keys: Keys, request: pytest.FixtureRequest) -> S3Client:
    """Give a client with a bucket, over either scheme: what is signed differs between them."""
    client = world.s3(keys, tls=request.param)
    client.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": ZONE})  # type: ignore[typeddict-item]
    return client


def test_buckets_are_listed_only_with_a_policy(world: World) -> None:
    world.grant(MINT)
    client = world.s3(world.keys())
    with refused("AccessDenied", 403) as message:
        client.list_buckets()
    assert "s3:ListAllMyBuckets" in message[0]
    assert PRINCIPAL in message[0]
    world.grant(MINT, "s3:ListAllMyBuckets")
    assert client.list_buckets()["Buckets"] == []


def test_objects_come_back_as_they_were_put(s3: S3Client) -> None:
    for key in ("plain", "a b/ü+%2F?#.txt", "trailing/", "/leading", "~'()*!"):
        body = key.encode() * 100
        s3.put_object(Bucket="data", Key=key, Body=body, Metadata={"note": "x"})
        found = s3.get_object(Bucket="data", Key=key)
        assert (found["Body"].read(), found["Metadata"]) == (body, {"note": "x"})
        assert s3.head_object(Bucket="data", Key=key)["ContentLength"] == len(body)
    listed = s3.list_objects_v2(Bucket="data", Prefix="a b/")["Contents"]
    assert [item["Key"] for item in listed] == ["a b/ü+%2F?#.txt"]
    assert len(s3.list_objects(Bucket="data")["Contents"]) == 5
    s3.delete_object(Bucket="data", Key="plain")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket="data", Key="plain")


def test_a_range_is_a_range(s3: S3Client) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"0123456789")
    assert s3.get_object(Bucket="data", Key="k", Range="bytes=2-4")["Body"].read() == b"234"


def test_an_empty_object_is_stored(s3: S3Client) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"")
    assert s3.get_object(Bucket="data", Key="k")["ContentLength"] == 0


def test_streams_are_uploaded(s3: S3Client) -> None:
    body = bytes(range(256)) * 4096
    s3.upload_fileobj(io.BytesIO(body), "data", "stream")
    assert s3.get_object(Bucket="data", Key="stream")["Body"].read() == body


def test_large_files_go_in_parts(s3: S3Client) -> None:
    body = bytes(range(256)) * 2**16
    assert len(body) == 16 * 2**20
    s3.upload_fileobj(io.BytesIO(body), "data", "large")
    found = s3.get_object(Bucket="data", Key="large")
    assert found["Body"].read() == body
    assert found["ETag"].endswith('-2"')
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="data")


def test_an_upload_can_be_given_up(s3: S3Client) -> None:
    upload = s3.create_multipart_upload(Bucket="data", Key="k")["UploadId"]
    s3.upload_part(Bucket="data", Key="k", UploadId=upload, PartNumber=1, Body=b"part")
    assert len(s3.list_parts(Bucket="data", Key="k", UploadId=upload)["Parts"]) == 1
    s3.abort_multipart_upload(Bucket="data", Key="k", UploadId=upload)
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket="data", Key="k", UploadId=upload)


def test_a_gzipped_object_stays_gzipped(s3: S3Client) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"\x1f\x8bnot really", ContentEncoding="gzip")
    found = s3.head_object(Bucket="data", Key="k")
    assert (found["ContentEncoding"], found["ContentLength"]) == ("gzip", 12)


def test_copies_need_both_sides(world: World, s3: S3Client) -> None:
    s3.put_object(Bucket="data", Key="in/a", Body=b"x")
    s3.copy_object(Bucket="data", Key="out/a", CopySource={"Bucket": "data", "Key": "in/a"})
    assert s3.get_object(Bucket="data", Key="out/a")["Body"].read() == b"x"
    world.grant("s3:*", resources=("data/out/*",))
    with refused("AccessDenied", 403) as message:
        s3.copy_object(Bucket="data", Key="out/b", CopySource={"Bucket": "data", "Key": "in/a"})
    assert "s3:GetObject on data/in/a" in message[0]
    world.grant("s3:GetObject", resources=("data/*",))
    with refused("AccessDenied", 403) as message:
        s3.copy_object(Bucket="data", Key="out/b", CopySource={"Bucket": "data", "Key": "in/a"})
    assert "s3:PutObject on data/out/b" in message[0]


def test_presigned_urls_work_until_they_are_tampered_with(
    world: World, keys: Keys, s3: S3Client
) -> None:
    s3.put_object(Bucket="data", Key="a b", Body=b"content")
    pool = urllib3.ProxyManager(world.emulator.url)
    client = world.s3(keys)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "a b"})
    assert pool.request("GET", url).data == b"content"
    for changed in (url.replace("a%20b", "other"), url + "&versionId=1", url[:-1] + "g"):
        assert pool.request("GET", changed).status in {400, 403}
    put = client.generate_presigned_url("put_object", Params={"Bucket": "data", "Key": "new"})
    assert pool.request("PUT", put, body=b"by link").status == 200
    assert s3.get_object(Bucket="data", Key="new")["Body"].read() == b"by link"
    pool.clear()


def test_a_presigned_url_is_decided_by_what_it_does(world: World, keys: Keys, s3: S3Client) -> None:
    s3.put_object(Bucket="data", Key="in/a", Body=b"x")
    world.grant(MINT, "s3:PutObject", resources=("*",))
    for parameter, needed in (
        ("x-amz-copy-source=data%2Fin%2Fa", "s3:GetObject on data/in/a"),
        ("x-amz-tagging=a%3Db", "s3:PutObjectTagging on data/out"),
    ):
        request = AWSRequest("PUT", f"http://data.cwlota.com/out?{parameter}")
        S3SigV4QueryAuth(Credentials(keys.access_key_id, keys.secret), "s3", ZONE).add_auth(request)
        assert request.url is not None
        with urllib3.ProxyManager(world.emulator.url) as pool:
            answer = pool.request("PUT", request.url)
        assert (answer.status, needed in answer.data.decode()) == (403, True)


def test_a_presigned_url_ends(world: World, keys: Keys) -> None:
    client = world.s3(keys)
    url = client.generate_presigned_url("list_buckets", ExpiresIn=604_801)
    with urllib3.ProxyManager(world.emulator.url) as pool:
        answer = pool.request("GET", url)
        assert (answer.status, b"X-Amz-Expires" in answer.data) == (400, True)
        assert pool.request("GET", client.generate_presigned_url("list_buckets")).status == 200


def test_an_empty_security_token_is_fine_in_a_presigned_url(world: World, keys: Keys) -> None:
    """What botocore makes of the container provider's `Token: ""`."""
    client = world.s3(keys)
    client._request_signer._credentials.token = ""  # type: ignore[attr-defined]
    url = client.generate_presigned_url("list_buckets")
    assert "X-Amz-Security-Token=&" in url
    with urllib3.ProxyManager(world.emulator.url) as pool:
        assert pool.request("GET", url).status == 200


@pytest.mark.usefixtures("s3")
def test_path_style_is_refused(world: World, keys: Keys) -> None:
    with refused("PathStyleRequestNotAllowed", 400):
        world.s3(keys, style="path").list_objects_v2(Bucket="data")


def test_batches_are_decided_object_by_object(world: World, s3: S3Client) -> None:
    for key in ("mine/a", "yours/b"):
        s3.put_object(Bucket="data", Key=key, Body=b"x")
    world.grant("s3:DeleteObject", resources=("data/mine/*",))
    wanted = [{"Key": "mine/a"}, {"Key": "yours/b"}]
    answer = s3.delete_objects(Bucket="data", Delete={"Objects": wanted})  # type: ignore[typeddict-item]
    assert [item["Key"] for item in answer["Deleted"]] == ["mine/a"]
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [
        ("yours/b", "AccessDenied")
    ]
    world.grant("s3:*")
    remaining = s3.list_objects_v2(Bucket="data")["Contents"]
    assert [item["Key"] for item in remaining] == ["yours/b"]


def test_buckets_come_and_go(s3: S3Client) -> None:
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["data"]
    s3.head_bucket(Bucket="data")
    again: dict[str, str] = {"LocationConstraint": ZONE}
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket="data", CreateBucketConfiguration=again)  # type: ignore[arg-type]
    s3.put_object(Bucket="data", Key="k", Body=b"x")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket="data")
    s3.delete_object(Bucket="data", Key="k")
    s3.delete_bucket(Bucket="data")
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket="data")


def test_a_bucket_says_where_it_is(world: World, keys: Keys, s3: S3Client) -> None:
    # boto3 asks for this in path style, whatever it is told, and so is refused.
    with refused("PathStyleRequestNotAllowed", 400):
        s3.get_bucket_location(Bucket="data")
    answer = world.signed("GET", "http://data.cwlota.com/?location", keys)
    assert f">{ZONE}</LocationConstraint>".encode() in answer.body


@pytest.mark.parametrize(
    ("name", "location", "code"),
    [
        ("cw-data", ZONE, "InvalidBucketName"),
        ("int", ZONE, "InvalidBucketName"),
        ("data", None, "InvalidLocationConstraint"),
    ],
)
def test_bad_buckets_are_not_made(
    world: World, keys: Keys, name: str, location: str | None, code: str
) -> None:
    configuration = {"CreateBucketConfiguration": {"LocationConstraint": location}}
    with refused(code, 400):
        world.s3(keys).create_bucket(Bucket=name, **(configuration if location else {}))  # type: ignore[arg-type]


def test_a_wrong_secret_does_not_match(world: World, keys: Keys) -> None:
    wrong = Keys(keys.access_key_id, keys.secret[:-1] + "!")
    for tls in (False, True):
        with refused("SignatureDoesNotMatch", 403):
            world.s3(wrong, tls=tls).list_buckets()


def test_an_unknown_key_is_invalid(world: World) -> None:
    with refused("InvalidAccessKeyId", 403):
        world.s3(Keys("AKIDEXAMPLE", "secret")).list_buckets()


def test_an_expired_key_is_invalid(world: World, keys: Keys) -> None:
    client = world.s3(keys)
    world.advance(890)
    client.list_buckets()
    world.advance(901)
    with refused("InvalidAccessKeyId", 403):
        client.list_buckets()
    world.set(expiredKeyError="ExpiredToken")
    with refused("ExpiredToken", 400):
        client.list_buckets()


def test_a_revoked_key_is_invalid(world: World, keys: Keys) -> None:
    client = world.s3(keys)
    client.list_buckets()
    body = {"principalName": PRINCIPAL}
    assert world.call("POST", "/v1/cwobject/revoke-access-key/principal", body).status == 200
    with refused("InvalidAccessKeyId", 403):
        client.list_buckets()


def test_a_session_token_is_demanded_where_one_was_given(world: World) -> None:
    world.grant("s3:*", MINT)
    world.set(sessionTokens=True)
    keys = world.keys()
    assert keys.token
    world.s3(keys).list_buckets()
    for token in ("", keys.token + "x"):
        with refused("InvalidToken", 400):
            world.s3(Keys(keys.access_key_id, keys.secret, token)).list_buckets()


def test_a_session_token_is_refused_where_none_was_given(world: World, keys: Keys) -> None:
    with refused("InvalidToken", 400):
        world.s3(Keys(keys.access_key_id, keys.secret, "invented")).list_buckets()


def test_anonymous_and_old_signatures_are_refused(world: World) -> None:
    with urllib3.ProxyManager(world.emulator.url) as pool:
        answer = pool.request("GET", "http://data.cwlota.com/k")
        assert (answer.status, b"AccessDenied" in answer.data) == (403, True)
        answer = pool.request("GET", "http://data.cwlota.com/k?AWSAccessKeyId=x&Signature=y")
        assert (answer.status, b"InvalidRequest" in answer.data) == (400, True)
        for header in ("AWS x:y", "AWS4-HMAC-SHA256 nonsense"):
            answer = pool.request(
                "GET", "http://data.cwlota.com/k", headers={"Authorization": header}
            )
            assert answer.status == 400
            assert b"AuthorizationHeaderMalformed" in answer.data


def test_any_region_signs(world: World, keys: Keys) -> None:
    assert world.s3(keys, region="anything").list_buckets()["Buckets"] == []


def test_what_is_not_emulated_is_refused(s3: S3Client) -> None:
    for call in (s3.get_bucket_acl, s3.get_bucket_lifecycle_configuration, s3.get_bucket_cors):
        with refused("NotImplemented", 501):
            call(Bucket="data")


def test_new_keys_take_their_time(world: World) -> None:
    world.grant("s3:*", MINT)
    world.set(keyPropagationSeconds=30)
    client = world.s3(world.keys())
    with refused("AccessDenied", 403):
        client.list_buckets()
    world.advance(31)
    client.list_buckets()


def test_policies_take_their_time(world: World, keys: Keys) -> None:
    client = world.s3(keys)
    world.set(policyPropagationSeconds=30)
    world.advance(31)
    world.grant("s3:*", effect="Deny", name="no")
    client.list_buckets()
    world.advance(62)
    with refused("AccessDenied", 403):
        client.list_buckets()


def test_new_buckets_take_their_time(world: World, s3: S3Client) -> None:
    world.set(bucketPropagationSeconds=30)
    with refused("InvalidRegion", 400) as message:
        s3.list_objects_v2(Bucket="data")
    assert message == ["Region does not match."]
    world.advance(31)
    s3.list_objects_v2(Bucket="data")
