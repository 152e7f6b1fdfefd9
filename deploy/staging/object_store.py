"""S3: Ceph's gateway over one monitor and one object store daemon, without a manager.

Of the S3 servers that Debian brings it is the one that keeps acknowledged objects through a kill and refuses
wrong secrets. One machine, one copy: durable against crashes of processes, not against loss of the disk.
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.staging.programs import call, find
from deploy.staging.server import Server
from deploy.staging.settings import BUCKET, USER, Settings

# Sparse: what is not used takes no room.
CAPACITY = 50 * 2**30
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {folder}/ceph-mon/keyring
mon data = {folder}/ceph-mon/data
osd data = {folder}/ceph-osd
rgw data = {folder}/s3
run dir = {folder}/run
crash dir = {folder}/run
# Its path would be longer than a socket's may be.
admin socket =
log file =
log to stderr = true
err to stderr = true
mon cluster log to file = false
# No chatter of RocksDB.
debug rocksdb = 0/0
# One machine, one copy.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
rgw rados pool pg num min = 1
# The disk belongs to others, too: stop when it is full, not at 95%.
mon data avail warn = 2
mon data avail crit = 1
# Nobody else has to agree, and nobody else may still be reading what a killed daemon held.
paxos propose interval = 0.05
paxos min wait = 0.01
osd pool default read lease ratio = 0.05
client notify timeout = 1
osd default notify timeout = 1
osd client watch timeout = 2
# Who lost a daemon asks again soon, with the keys of the new one.
ms max backoff = 1
mon client ping interval = 1
bluestore block size = {capacity}
bluestore cache autotune = false
bluestore cache size = 67108864
# Else each list of objects waits 40 ms: for more to send, while the client waits before it says "got it".
rgw frontends = beast endpoint=127.0.0.1:{s3_port} tcp_nodelay=1
rgw thread pool size = 64
rgw run sync thread = false
rgw enable usage log = false
"""
# What each daemon may: (name, monitor, object store).
KEYS = (
    ("mon.", "allow *", None),
    ("client.admin", "allow *", "allow *"),
    ("osd.0", "allow profile osd", "allow *"),
    ("client.rgw", "allow rw", "allow rwx"),
)


def servers(settings: Settings) -> list[Server]:
    """Ceph's three daemons; `s3` is the one that clients speak to."""
    ceph = _Ceph(settings)
    mon = Server(
        name="ceph-mon",
        folder=settings.folder,
        command=[find("ceph-mon", "ceph-mon"), "-f", "-i", "a"],
        environment=lambda: ceph.environment,
        address=f"127.0.0.1:{settings.ports['ceph-mon']}",
        make=ceph.make_monitor,
        configure=ceph.configure,
        answers=lambda: "a" in ceph.ask("mon", "stat")["quorum"][0]["name"],
    )
    osd = Server(
        name="ceph-osd",
        folder=settings.folder,
        command=[find("ceph-osd", "ceph-osd"), "-f", "-i", "0"],
        environment=lambda: ceph.environment,
        address="127.0.0.1",
        after=["ceph-mon"],
        make=ceph.make_store,
        configure=ceph.forget_killed,
        answers=lambda: ceph.ask("osd", "stat")["num_up_osds"] == 1,
    )
    gateway = Server(
        name="s3",
        folder=settings.folder,
        command=[find("radosgw", "radosgw"), "-f", "-n", "client.rgw"],
        environment=lambda: ceph.environment,
        address=settings.url("s3"),
        after=["ceph-osd"],
        make=ceph.make_user,
        answers=lambda: "Buckets" in client(settings).list_buckets(),
        complete=lambda: make_bucket(settings),
    )
    return [mon, osd, gateway]


def client(settings: Settings) -> Any:
    """An S3 client with the key of this staging, that gives up soon."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.url("s3"),
        aws_access_key_id=settings.secrets["s3_key"],
        aws_secret_access_key=settings.secrets["s3_secret"],
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 0}),
    )


def make_bucket(settings: Settings) -> None:
    """Create the bucket; it is the user's own if it was there before."""
    client(settings).create_bucket(Bucket=BUCKET)


class _Ceph:
    """Ceph's first start, and questions to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.configuration = self.folder / "ceph.conf"
        self.environment = {"CEPH_ARGS": f"-c {self.configuration}"}

    def configure(self) -> None:
        ports = self.settings.ports
        text = CONFIGURATION.format(
            fsid=self._id("cluster"),
            folder=self.folder,
            port=ports["ceph-mon"],
            s3_port=ports["s3"],
            capacity=CAPACITY,
        )
        self.configuration.write_text(text)

    def make_monitor(self) -> None:
        self.configure()
        data = self.folder / "ceph-mon"
        keyring, monmap = str(data / "keyring"), str(data / "monmap")
        for name, monitor, store in KEYS:
            create = [] if Path(keyring).exists() else ["--create-keyring"]
            may = ["--cap", "mon", monitor, *(["--cap", "osd", store] if store else [])]
            self._run("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *may)
        address = f"[v2:127.0.0.1:{self.settings.ports['ceph-mon']}]"
        self._run("monmaptool", "--create", "--fsid", self._id("cluster"), "--addv", "a", address, monmap)
        (data / "data").mkdir()
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)

    def make_store(self) -> None:
        name = self._id("store")
        self._run("ceph", "--connect-timeout", "20", "osd", "new", name, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name, "--no-mon-config")

    def forget_killed(self) -> None:
        """Tell the monitor that the store is down: it believes so of a killed one only after a while."""
        self._run("ceph", "--connect-timeout", "20", "osd", "down", "0")

    def make_user(self) -> None:
        # 17: there is one already, from a first start that was interrupted.
        user = ["--uid", USER]
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", *user, "--display-name", USER, ok=17)
        keys = json.loads(self._run("radosgw-admin", "-n", "client.rgw", "user", "info", *user))["keys"][0]
        self.settings.keep(s3_key=keys["access_key"], s3_secret=keys["secret_key"])

    def ask(self, *question: str) -> Any:
        return json.loads(self._run("ceph", "--connect-timeout", "5", "--format", "json", *question))

    def _run(self, program: str, *arguments: str, ok: int = 0) -> str:
        package = {"radosgw-admin": "radosgw"}.get(program, "ceph-common")
        command: Sequence[str] = [find(program, package), *arguments]
        return call(command, self.environment, may_fail_with=ok)

    def _id(self, what: str) -> str:
        """An id that is the same at each start, and another in another folder."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.settings.secrets['ceph']}/{what}"))
