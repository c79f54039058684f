"""Medusa's configuration for the benchmarks: as many transfers at once as the others make, and no limit."""


def write(file, *, endpoint, bucket, prefix, access, secret, node, cassandra=""):
    """To `file`, with the credentials beside it; `node` is how Medusa calls it, `cassandra` the lines of that section."""
    credentials = file.with_suffix(".credentials")
    credentials.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    host, port = endpoint.removeprefix("http://").split(":")
    file.write_text(f"""[cassandra]
{cassandra}
[storage]
storage_provider = s3_compatible
bucket_name = {bucket}
prefix = {prefix}
key_file = {credentials}
fqdn = {node}
host = {host}
port = {port}
secure = False
region = us-east-1
concurrent_transfers = 8
transfer_max_bandwidth = 100GB/s
base_path = /tmp
[monitoring]
monitoring_provider = None
[checks]
[logging]
enabled = 0
[grpc]
[kubernetes]
enabled = False
""")
