"""The workflow with its files in an S3 bucket, of a server on this machine: `pytest -m elsewhere`."""

import re

import pytest

pytestmark = pytest.mark.elsewhere  # pip install 'moto[server]' 'minlm[kubernetes]'


@pytest.fixture
def bucket(monkeypatch):
    """A bucket and the address of its server, with the keys in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
        monkeypatch.setenv(name.replace("AWS", "SNAKEMAKE_STORAGE_S3").replace("ACCESS_KEY_ID", "ACCESS_KEY"), "key")
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", "key")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    made = boto3.resource("s3", endpoint_url=address, region_name="us-east-1").Bucket("minlm")
    made.create()
    yield made, address
    server.stop()


def test_a_run_in_a_bucket_makes_the_same_files(bucket, new_checkout):
    bucket, address = bucket
    checkout, local = new_checkout(), new_checkout()
    for text in (checkout.folder / "texts").iterdir():
        bucket.upload_file(str(text), f"run/texts/{text.name}")
    targets = ("results/samples.txt", "results/evaluation.json")
    storage = (
        "--profile", "profiles/s3", "--default-storage-prefix", "s3://minlm/run",
        "--storage-s3-endpoint-url", address,
    )  # fmt: skip

    def call(*more: str) -> str:
        process = checkout.start(*targets, *storage, *more)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    call()
    local.run(*targets)
    for name in ("data/tokens/train.npy", "results/samples.txt", "results/evaluation.json"):
        assert bucket.Object(f"run/{name}").get()["Body"].read() == (local.folder / name).read_bytes()
    assert not (checkout.folder / "results").exists()
    assert "Nothing to be done" in call()
    again = call("--config", "sampling={max_new_tokens: 3}")
    assert re.search(r"\[ *1/1\] sample", again)
