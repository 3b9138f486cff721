"""A tour through a server with proxmoxer: PORT FINGERPRINT SECOND_FOLDER; ends with an exception where something is not as it must be."""

import sys
import time

import urllib3
from proxmoxer import ProxmoxAPI, ResourceException

urllib3.disable_warnings()
port, fingerprint, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect(user, **credentials):
    return ProxmoxAPI("127.0.0.1", user=user, service="PBS", port=port, verify_ssl=False, **credentials)


pbs = connect("op@pbs", password="operator-1")


def finish(upid):
    """Waits for the end of a task and returns its log; anything but OK is an error."""
    for _ in range(600):
        status = pbs.nodes("localhost").tasks(upid).status.get()
        if status["status"] == "stopped":
            log = [line["t"] for line in pbs.nodes("localhost").tasks(upid).log.get(limit=1000)]
            assert status["exitstatus"] == "OK", (status, log)
            return log
        time.sleep(0.1)
    raise AssertionError(f"{upid} does not end")


assert pbs.version.get()["version"]
pbs.access.users.create(userid="reader@pbs", password="reader-secret-1", comment="Für die Kopie")
assert [user["comment"] for user in pbs.access.users.get() if user["userid"] == "reader@pbs"] == ["Für die Kopie"]
token = pbs.access.users("reader@pbs").token("tour").create()
assert token["tokenid"] == "reader@pbs!tour"
for auth_id in ("reader@pbs", "reader@pbs!tour"):
    pbs.access.acl.put(**{"path": "/datastore/main", "role": "DatastoreReader", "auth-id": auth_id})
assert {entry["ugid"] for entry in pbs.access.acl.get()} >= {"reader@pbs", "reader@pbs!tour"}
pbs.access.password.put(**{"userid": "reader@pbs", "password": "reader-secret-2", "confirmation-password": "operator-1"})
reader = connect("reader@pbs", password="reader-secret-2")
by_token = connect("reader@pbs", token_name="tour", token_value=token["value"])
for caller in (reader, by_token):
    assert [store["store"] for store in caller.admin.datastore.get()] == ["main"]
try:
    by_token.access.users.create(userid="more@pbs")
    raise AssertionError("a reader's token makes users")
except ResourceException as e:
    assert e.status_code == 403, e

finish(pbs.config.datastore.create(name="copy", path=folder))
pbs.config.datastore("copy").put(comment="Tour")
assert pbs.config.datastore("copy").get()["comment"] == "Tour"
pbs.config.remote.create(**{"name": "self", "host": "127.0.0.1", "port": port, "auth-id": "reader@pbs!tour", "password": token["value"], "fingerprint": fingerprint})
assert [store["store"] for store in pbs.config.remote("self").scan.get()] == ["main"]
pbs.config.sync.create(**{"id": "tour-sync", "store": "copy", "remote": "self", "remote-store": "main", "remove-vanished": 0})
finish(pbs.admin.sync("tour-sync").run.create())
snapshots = pbs.admin.datastore("main").snapshots.get()
copied = pbs.admin.datastore("copy").snapshots.get()
assert snapshots and len(copied) == len(snapshots), (len(copied), len(snapshots))
first = copied[0]
key = {name: first[name] for name in ("backup-type", "backup-id", "backup-time")}
pbs.admin.datastore("copy").notes.put(notes="kept\nfor the tour", **key)
assert pbs.admin.datastore("copy").notes.get(**key) == "kept\nfor the tour"
pbs.admin.datastore("copy").protected.put(protected=1, **key)
assert pbs.admin.datastore("copy").protected.get(**key) is True
assert pbs.admin.datastore("copy").files.get(**key)
pbs.config.verify.create(id="tour-verify", store="copy")
finish(pbs.admin.verify("tour-verify").run.create())
finish(pbs.admin.datastore("copy").verify.create())
pbs.config.prune.create(**{"id": "tour-prune", "store": "copy", "schedule": "daily", "keep-last": 1})
finish(pbs.admin.prune("tour-prune").run.create())
left = pbs.admin.datastore("copy").snapshots.get()
assert any(all(one[name] == key[name] for name in key) for one in left), "a protected snapshot was pruned"
finish(pbs.admin.datastore("copy").gc.create())
assert pbs.admin.datastore("copy").gc.get()["upid"]
assert {task["worker_type"] for task in pbs.nodes("localhost").tasks.get()} >= {"syncjob", "verificationjob", "verify", "prunejob", "garbage_collection"}
assert pbs.nodes("localhost").status.get()["memory"]["total"] > 0
for job in (pbs.config.verify("tour-verify"), pbs.config.prune("tour-prune"), pbs.config.sync("tour-sync"), pbs.config.remote("self")):
    job.delete()
pbs.access.users("reader@pbs").token("tour").delete()
try:
    by_token.version.get()
    raise AssertionError("a deleted token works")
except ResourceException as e:
    assert e.status_code == 401, e
pbs.access.users("reader@pbs").delete()
print("proxmoxer: tour done")
