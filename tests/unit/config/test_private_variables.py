"""What is a secret in the environment of a shell, and what do the processes of a job need of it?"""

from __future__ import annotations

import pytest
from support.builders import plan

from hpcaccept.config.private_variables import is_secret, names_in, without_secrets
from hpcaccept.config.settings import load_settings
from hpcaccept.launch.job.environment import of_ranks
from hpcaccept.model.plan import Image
from hpcaccept.plan.make import request_of

SECRETS = """
HF_TOKEN HUGGING_FACE_HUB_TOKEN WANDB_API_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE
AZURE_CLIENT_SECRET AZURE_TENANT_ID ARM_CLIENT_SECRET GITHUB_TOKEN GH_TOKEN GITHUB_PAT CI_JOB_TOKEN CI_JOB_JWT NGC_API_KEY OPENAI_API_KEY
OPENAI_APIKEY KAGGLE_KEY PGPASSWORD MYSQL_PWD DB_PASS SSHPASS SMTP_PASSWORD ROOT_PASSWD GPG_PASSPHRASE GOOGLE_APPLICATION_CREDENTIALS
DOCKER_AUTH_CONFIG REDISCLI_AUTH SENTRY_DSN SLACK_WEBHOOK_URL HPCACCEPT_WEBHOOK_URL HPCACCEPT_WEBHOOK_TOKEN VAULT_TOKEN
AZURE_STORAGE_CONNECTION_STRING ACTIONS_ID_TOKEN_REQUEST_URL SESSION_COOKIE hf_token APPTAINER_DOCKER_PASSWORD TLS_PRIVATE_KEY
COMET_API_KEYS"""
NEEDED = """
PATH HOME USER LD_LIBRARY_PATH PYTHONPATH VIRTUAL_ENV TMPDIR LANG SLURM_JOB_ID SLURM_CONF SLURM_JWT PMI_SHARED_SECRET PMIX_RANK
PMIX_SERVER_URI4 OMPI_MCA_orte_precondition_transports OMPI_MCA_plm_rsh_agent NCCL_DEBUG NCCL_IB_PKEY NCCL_SOCKET_IFNAME UCX_TLS FI_PROVIDER CUDA_VISIBLE_DEVICES
HPCACCEPT_RUNS_DIR HPCACCEPT_NODE HPCACCEPT_IMAGE TOKENIZERS_PARALLELISM SSH_AUTH_SOCK SSH_ASKPASS KRB5CCNAME OMP_NUM_THREADS MONKEY KEYBOARD
PWD OLDPWD APPTAINER_PWD COMPASS MODULEPATH LMOD_CMD XDG_RUNTIME_DIR MPI4PY_LIBMPI TORCH_NCCL_ASYNC_ERROR_HANDLING PATTERN
GLOO_SOCKET_IFNAME HYDRA_BOOTSTRAP I_MPI_FABRICS http_proxy"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_a_secret_stays_behind(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", NEEDED.split())
def test_what_a_job_needs_is_no_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("PIP_INDEX_URL", "https://user:secret@packages.example/simple", True),
        ("DATABASE", "postgres://:secret@db.example/runs", True),
        ("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", True),
        ("PIP_INDEX_URL", "https://packages.example/simple", False),
        ("https_proxy", "http://user:secret@proxy.example:3128", False),
        ("REMOTE", "ssh://git@host.example:22/path", False),
    ],
)
def test_a_url_with_a_password_is_a_secret_whatever_it_is_called(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) == secret


def test_a_site_keeps_what_it_names() -> None:
    environ = {"NGC_API_KEY": "a", "HF_TOKEN": "b", "HOME": "/home/ops"}
    assert without_secrets(environ) == {"HOME": "/home/ops"}
    assert without_secrets(environ, names_in("NGC_API_KEY, OTHER")) == {"NGC_API_KEY": "a", "HOME": "/home/ops"}


def test_the_setting_travels_in_the_plan() -> None:
    settings = load_settings({}, {"HPCACCEPT_KEEP_VARIABLES": "NGC_API_KEY,HF_TOKEN"}).settings
    assert request_of(settings, 0).keep_variables == ("NGC_API_KEY", "HF_TOKEN")


def test_ranks_get_what_was_asked_for_the_container_by_name() -> None:
    image = Image("pyxis", "image", env={"HF_TOKEN": "asked for"})
    asked = plan(keep_variables=("NGC_API_KEY",))
    asked = type(asked)(**{**vars(asked), "image": image})
    found = of_ranks(asked, {"HF_TOKEN": "of the shell", "WANDB_API_KEY": "b", "NGC_API_KEY": "c", "SLURM_JOB_ID": "7"})
    assert (found["HF_TOKEN"], found["NGC_API_KEY"], found["SLURM_JOB_ID"]) == ("asked for", "c", "7")
    assert "WANDB_API_KEY" not in found
