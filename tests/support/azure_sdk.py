"""The real SDK of Azure for Python, in an environment of its own (``build/azure-sdk``): a witness of what hpcaccept sends and the server of the tests says.

``python -m support.azure_sdk`` makes it: 44 MB. ``python client.py URL WORD FILE…`` (CLIENT below) runs in it.
"""

from __future__ import annotations

from support.own_environment import ROOT, OwnEnvironment, group

ENVIRONMENT = OwnEnvironment(
    ROOT / "build" / "azure-sdk", group("azure-sdk"), "PYTHONPATH=tests python -m support.azure_sdk"
)
PYTHON = ENVIRONMENT.python
CLIENT = """\
import json, sys
from types import SimpleNamespace
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.resource.deployments import DeploymentsMgmtClient

url, token, subscription, word, *more = sys.argv[1:]
credential = SimpleNamespace(get_token=lambda *scopes, **_: AccessToken(token, 2**33))
plain = {"enforce_https": False}
if word == "deploy":
    template, parameters = (json.load(open(file)) for file in more[1:])
    client = DeploymentsMgmtClient(credential, subscription, base_url=url, credential_scopes=["x"])
    body = {"properties": {"mode": "Incremental", "template": template, "parameters": parameters["parameters"]}}
    try:
        done = client.deployments.begin_create_or_update(more[0], "hpcaccept", body, polling_interval=0, **plain).result()
        print(json.dumps({"state": done.properties.provisioning_state}))
    except HttpResponseError as fault:
        print(json.dumps({"refused": fault.error.code if fault.error else str(fault)}))
else:
    client = ComputeManagementClient(credential, subscription, base_url=url, credential_scopes=["x"])
    vms = client.virtual_machine_scale_set_vms
    if word == "vms":
        print(json.dumps([each.os_profile.computer_name for each in vms.list(more[0], more[1], **plain)]))
    elif word == "evict":
        print(json.dumps(vms.simulate_eviction(*more, **plain)))
    else:
        script = {"commandId": "RunShellScript", "script": more[3:]}
        done = vms.begin_run_command(*more[:3], script, polling_interval=0, **plain).result()
        print(json.dumps([each.message for each in done.value]))
"""


why_not, make = ENVIRONMENT.why_not, ENVIRONMENT.make


if __name__ == "__main__":
    make()
