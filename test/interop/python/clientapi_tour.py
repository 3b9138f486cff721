"""
Calls of clientapi-pbs: PORT TOKEN-ID TOKEN-SECRET; ends with an exception where something is not as it must be. Its models check texts with
expressions that Python reads otherwise than the API means them (`[[:^cntrl:]]`), so they refuse what any server sends: replies are taken as they come.
"""

import json
import sys

import urllib3
from clientapi_pbs import Configuration, Pbs

urllib3.disable_warnings()
port, token_id, secret = sys.argv[1:4]
configuration = Configuration(host=f"https://127.0.0.1:{port}/api2/json", api_key={"PBSApiToken": f"PBSAPIToken={token_id}:{secret}"})
configuration.verify_ssl = False
pbs = Pbs(configuration=configuration)


def call(api, method, **parameters):
    """The data of the reply to a call that the client put together."""
    response = getattr(api, f"{method}_without_preload_content")(**parameters)
    assert response.status == 200, (method, response.status, response.data)
    return json.loads(response.data)["data"]


assert any(user["userid"] == "op@pbs" for user in call(pbs.accessUsers, "get_users"))
assert any(entry["ugid"] == token_id for entry in call(pbs.accessAcl, "get_acl"))
assert [store["name"] for store in call(pbs.configDatastore, "get_datastore") if store["name"] == "main"] == ["main"]
assert isinstance(call(pbs.configSync, "get_sync"), list)
assert isinstance(call(pbs.configRemote, "get_remote"), list)
assert isinstance(call(pbs.configPrune, "get_prune"), list)
assert isinstance(call(pbs.configVerify, "get_verify"), list)
assert isinstance(call(pbs.adminDatastore, "get_snapshots", store="main"), list)
assert isinstance(call(pbs.adminDatastore, "get_groups", store="main"), list)
assert call(pbs.adminDatastore, "get_status", store="main")["total"] > 0
assert call(pbs.adminDatastore, "create_gc", store="main").startswith("UPID:")
assert len(call(pbs.nodesTasks, "get_tasks", node="localhost")) >= 1
print("clientapi-pbs: calls done")
