"""Secrets by the shape their issuer gave them.

Only shapes with a marker of their own: a fixed prefix, a fixed length, a frame. Forty random letters are not a
secret here, and neither is the word "password" beside a value: both are everywhere in harmless text. The pages
of the issuers are the source of each shape; none is checked online.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from sekisho.detect.rule import BOTH, Group, rule

__all__ = ["SECRETS"]

END: Final = r"(?:[^A-Za-z0-9_-]|\\)"


_secret = partial(rule, Group.SECRETS, where=BOTH)


_A: Final = "Zk3vQ9xT7mB2pL5wR8nJ4hY6cD1fG0sVaEoUiKbNtMzXqWrPyHgFdSjLuCeIvOkTzAm"

SECRETS: Final = (
    _secret(
        "private_key",
        "the frame of a private key in PEM or OpenSSH form",
        r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\\{1,4}[nr]| |,){1,8}"
        r"(?:Proc-Type|Version|Comment|[A-Za-z0-9+/]{16})",
        keys=("PRIVATE KEY",),
        harmless="KEY_START = '-----BEGIN PRIVATE KEY-----' and -----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0B",
        harmful="-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA",
        refuse=True,
    ),
    _secret(
        "sekisho_token",
        "a bearer token of this gateway",
        r"(?:[^A-Za-z0-9_-]|\\[nrt])sk-[A-Za-z0-9_-]{43}" + END,
        keys=("sk-",),
        harmless="sk-… is shown once",
        harmful="Bearer sk-" + _A[:43],
        refuse=True,
    ),
    _secret(
        "putty_key",
        "a PuTTY private key file",
        r"PuTTY-User-Key-File-[0-9]: ",
        keys=("PuTTY-User-Key",),
        harmless="open PuTTY and load the user key file",
        harmful="PuTTY-User-Key-File-3: ssh-ed25519",
    ),
    _secret(
        "age_key",
        "an age secret key",
        r"AGE-SECRET-KEY-1[0-9A-Z]{50}",
        keys=("AGE-SECRET-KEY-1",),
        harmless="age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        harmful="AGE-SECRET-KEY-1" + "Q5Z7" * 14,
    ),
    _secret(
        "aws_access_key",
        "an AWS access key id",
        r"(?:AKIA|ASIA)[A-Z2-7]{16}" + END,
        keys=("AKIA", "ASIA"),
        harmless="AKIARTSOFTHEWORLDOFTOMORROW",
        harmful="AKIAQ3EGS7TZ5W2NOPLM",
    ),
    _secret(
        "aws_secret_key",
        "an AWS secret access key beside its name",
        r"(?i)aws[ _-]{0,2}secret[ _-]{0,2}(?:access[ _-]{0,2})?key[\"' :=\\]{1,12}[A-Za-z0-9/+]{40}",
        keys=("secret",),
        harmless="aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']",
        harmful="aws_secret_access_key = wJalrXUtnFEMIqK7MDENGbPxRfiCYzq3LmT8uVpA",
    ),
    _secret(
        "github_token",
        "a GitHub token",
        r"gh[pousr]_[A-Za-z0-9]{36}",
        keys=("gh[pousr]_",),
        harmless="ghp_xxxx stands for your own token",
        harmful="ghp_" + _A[:36],
    ),
    _secret(
        "github_fine_grained",
        "a fine-grained GitHub token",
        r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{50}",
        keys=("github_pat_",),
        harmless="set github_pat_YOUR_TOKEN_HERE",
        harmful="github_pat_" + _A[:22] + "_" + _A[:59],
    ),
    _secret(
        "gitlab_token",
        "a GitLab token",
        r"gl(?:pat|ptt|dt|rt|soat|cbt|ft|agent|oas)-[A-Za-z0-9_-]{20}",
        keys=("glpat-", "glptt-", "gldt-", "glrt-", "glsoat-", "glcbt-", "glft-", "glagent-", "gloas-"),
        harmless="glpat-<token>",
        harmful="glpat-" + _A[:20],
    ),
    _secret(
        "slack_token",
        "a Slack token",
        r"xox[abeoprs](?:\.[a-z]{3,4})?-[0-9A-Za-z-]{20}",
        keys=("xox[abeoprs]",),
        harmless="xoxb-your-token",
        harmful="xoxb-123456789012-1234567890123-" + _A[:24],
    ),
    _secret(
        "slack_webhook",
        "the address of a Slack webhook, which needs no other credential",
        r"hooks\.slack\.com/(?:services|workflows)/T[A-Z0-9]{8,12}/[A-Z0-9]{8,12}/[A-Za-z0-9]{16}",
        keys=(r"hooks\.slack\.com",),
        harmless="https://hooks.slack.com/services/…",
        harmful="https://hooks.slack.com/services/T0ABCDEF1/B0ABCDEF2/" + _A[:24],
    ),
    _secret(
        "discord_webhook",
        "the address of a Discord webhook",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60}",
        keys=("/api/webhooks/",),
        harmless="https://discord.com/api/webhooks/{id}/{token}",
        harmful="https://discord.com/api/webhooks/123456789012345678/" + _A,
    ),
    _secret(
        "telegram_token",
        "a Telegram bot token",
        r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}" + END,
        keys=("[0-9]:AA",),
        harmless="12345678:AA is a ratio and two letters",
        harmful="1234567890:AA" + _A[:33],
    ),
    _secret(
        "stripe_key",
        "a live Stripe key",
        r"[rs]k_live_[0-9A-Za-z]{24}",
        keys=("k_live_",),
        harmless="sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        harmful="sk_live_" + _A[:24],
    ),
    _secret(
        "google_api_key",
        "a Google API key",
        r"AIza[0-9A-Za-z_-]{35}",
        keys=("AIza",),
        harmless="AIza…",
        harmful="AIza" + _A[:35],
    ),
    _secret(
        "google_oauth",
        "a Google OAuth access token or client secret",
        r"ya29\.[0-9A-Za-z_-]{40}|GOCSPX-[0-9A-Za-z_-]{28}",
        keys=(r"ya29\.", "GOCSPX-"),
        harmless="ya29.<access token>",
        harmful="GOCSPX-" + _A[:28],
    ),
    _secret(
        "openai_key",
        "an OpenAI key",
        r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
        keys=("T3BlbkFJ", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"),
        harmless="OPENAI_API_KEY=sk-proj-...",
        harmful="sk-proj-" + _A[:48],
    ),
    _secret(
        "anthropic_key",
        "an Anthropic key",
        r"sk-ant-(?:api|admin|sid|oat|ort)[0-9]{2}-[A-Za-z0-9_-]{40}",
        keys=("sk-ant-",),
        harmless="sk-ant-api03-…",
        harmful="sk-ant-api03-" + _A[:60],
    ),
    _secret(
        "huggingface_token",
        "a Hugging Face token",
        r"hf_[A-Za-z]{34}" + END,
        keys=("hf_[A-Za-z]",),
        harmless="hf_hub_download(repo_id='x')",
        harmful="hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    ),
    _secret(
        "npm_token",
        "an npm token",
        r"npm_[A-Za-z0-9]{36}",
        keys=("npm_",),
        harmless="npm_config_registry=https://registry.example",
        harmful="npm_" + _A[:36],
    ),
    _secret(
        "pypi_token",
        "a PyPI upload token",
        r"pypi-AgE[A-Za-z0-9_-]{50}",
        keys=("pypi-AgE",),
        harmless="pypi-attestations 0.0.20",
        harmful="pypi-AgEIcHlwaS5vcmc" + _A[:60],
    ),
    _secret(
        "sendgrid_key",
        "a SendGrid key",
        r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
        keys=(r"SG\.[A-Za-z0-9_-]",),
        harmless="SG.1.2",
        harmful="SG." + _A[:22] + "." + _A[:43],
    ),
    _secret(
        "digitalocean_token",
        "a DigitalOcean token",
        r"do[opr]_v1_[a-f0-9]{64}",
        keys=("do[opr]_v1_",),
        harmless="dop_v1_token",
        harmful="dop_v1_" + "0a1b2c3d" * 8,
    ),
    _secret(
        "docker_token",
        "a Docker Hub token",
        r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27}",
        keys=("dckr_",),
        harmless="dckr_pat_…",
        harmful="dckr_pat_" + _A[:27],
    ),
    _secret(
        "shopify_token",
        "a Shopify token",
        r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
        keys=("shp(?:at|ca|pa|ss)_",),
        harmless="shpat_",
        harmful="shpat_" + "0a1b2c3d" * 4,
    ),
    _secret(
        "vault_token",
        "a HashiCorp Vault or Terraform Cloud token",
        r"hv[sbr]\.[A-Za-z0-9_-]{60}|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60}",
        keys=(r"hv[sbr]\.[A-Za-z0-9_-]", r"\.atlasv1\."),
        harmless="hvs.token",
        harmful="hvs." + _A,
    ),
    _secret(
        "azure_storage_key",
        "an Azure storage connection string",
        r"AccountKey=[A-Za-z0-9+/]{86}==",
        keys=("AccountKey=",),
        harmless="AccountKey=<key>",
        harmful="AccountName=a;AccountKey=" + "Ab3+" * 21 + "Ab==",
    ),
    _secret(
        "jwt",
        "a signed JSON Web Token",
        r"eyJ[A-Za-z0-9_-]{10,400}\.eyJ[A-Za-z0-9_-]{10}",
        keys=(r"\.eyJ",),
        harmless="eyJhbGciOiJIUzI1NiJ9 is the header of a token",
        harmful="eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        reach=440,
    ),
    _secret(
        "url_password",
        "a password inside a database or message queue address",
        r"(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql)"
        r"://[A-Za-z0-9._%-]{0,64}:[^\"@/ <>{}$\[*]{6,100}@[A-Za-z0-9.-]{3}",
        keys=("postgres", "mysql", "mariadb", "mongodb", "redis", "amqp", "mssql"),
        harmless="postgresql://user:<password>@localhost/db, or postgres://db.example.org:5432/app",
        harmful="postgresql://app:Vq8wLx2Zr4@db.internal.example:5432/app",
    ),
)
