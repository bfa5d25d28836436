"""Variables that never pass, each beside one that looks alike and may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy import Grants
from sekisho.policy.environment import is_dangerous

# What it would do, and a harmless name that begins or ends alike.
PAIRS = {
    "LD_PRELOAD": "LDAP_URL",
    "LD_AUDIT": "OLD_AUDIT",
    "LD_LIBRARY_PATH": "LIBRARY_PATH_NAME",
    "DYLD_INSERT_LIBRARIES": "DYE",
    "GLIBC_TUNABLES": "GLIB",
    "MALLOC_TRACE": "MALL_ID",
    "GCONV_PATH": "CONV_PATH",
    "LOCPATH": "LOC_PATH",
    "NLSPATH": "NLS",
    "RES_OPTIONS": "RES_ID",
    "HOSTALIASES": "HOSTNAME_ALIAS",
    "LOCALDOMAIN": "LOCAL_DOMAIN",
    "PYTHONPATH": "PYTHONUNBUFFERED",
    "PYTHONSTARTUP": "PYTH",
    "PYTHONHOME": "PYPI_USER",
    "PIP_INDEX_URL": "PIPELINE_ID",
    "UV_INDEX_URL": "UVICORN",
    "NODE_OPTIONS": "NODE_ENV",
    "NODE_EXTRA_CA_CERTS": "NODES",
    "NPM_CONFIG_REGISTRY": "NPMJS_USER",
    "npm_config_userconfig": "npmjs_user",
    "BUN_OPTIONS": "BUNGALOW",
    "DENO_DIR": "DENOMINATION",
    "DENO_CERT": "DENO",
    "BASH_ENV": "BASHFUL",
    "ENV": "ENVIRONMENT",
    "IFS": "IFSC_CODE",
    "SHELLOPTS": "SHELL_NAME",
    "PS4": "PS5",
    "PROMPT_COMMAND": "PROMPT",
    "ZDOTDIR": "DOTDIR",
    "PERL5OPT": "PERLINE",
    "PERL5LIB": "PERLA",
    "RUBYOPT": "RUB",
    "RUBYLIB": "RUDY_LIB",
    "GEM_HOME": "GEMINI_API_KEY",
    "JAVA_TOOL_OPTIONS": "JAVASCRIPT_MODE",
    "_JAVA_OPTIONS": "_JAVA",
    "JDK_JAVA_OPTIONS": "JDKX",
    "CLASSPATH": "CLASS_PATH",
    "DOTNET_STARTUP_HOOKS": "DOTNET_ENVIRONMENT",
    "CORECLR_ENABLE_PROFILING": "CORECLR",
    "COR_PROFILER": "CORS_ORIGIN",
    "PHPRC": "PHP_VERSION",
    "PHP_INI_SCAN_DIR": "PHP_INI",
    "LUA_INIT": "LUAU",
    "LUA_PATH": "LUANDA",
    "TCLLIBPATH": "TC_LIB",
    "ERL_AFLAGS": "ERLANG",
    "R_PROFILE": "R_VALUE",
    "GODEBUG": "GOOGLE_API_KEY",
    "GOFLAGS": "GOAL",
    "RUSTC_WRAPPER": "RUST",
    "CARGO_HOME": "CARGOS",
    "GIT_SSH_COMMAND": "GITHUB_TOKEN",
    "GIT_CONFIG_COUNT": "GIT_AUTHOR_NAME",
    "GIT_CONFIG_GLOBAL": "GITLAB_URL",
    "GIT_EXEC_PATH": "GIT_COMMITTER_EMAIL",
    "GIT_PROXY_COMMAND": "GIT_TERMINAL_PROMPT",
    "GIT_ASKPASS": "GIT_TOKEN",
    "GIT_EDITOR": "GIT_EDITION",
    "GIT_EXTERNAL_DIFF": "GIT_EXTENT",
    "GIT_SEQUENCE_EDITOR": "GIT_SEQ",
    "GIT_SSL_NO_VERIFY": "GIT_S",
    "GIT_PAGER": "GIT_PAGE",
    "GIT_DIR": "GIT_DIRECTION",
    "EDITOR": "EDITORIAL",
    "VISUAL": "VISUALS",
    "PAGER": "PAGERDUTY_TOKEN",
    "SYSTEMD_PAGER": "SYSTEM",
    "LESSOPEN": "LESS",
    "BROWSER": "BROWSER_NAME",
    "SSH_ASKPASS": "SSH_USER",
    "HTTP_PROXY": "HTTP_PROXY_NAME",
    "https_proxy": "https_port",
    "ALL_PROXY": "ALL_PROXIES",
    "grpc_proxy": "grpc_port",
    "NO_PROXY": "NO_PROX",
    "SSL_CERT_FILE": "SSL_MODE",
    "SSLKEYLOGFILE": "SSL",
    "OPENSSL_CONF": "OPEN_SSL",
    "REQUESTS_CA_BUNDLE": "REQUESTS",
    "AWS_CA_BUNDLE": "AWS_REGION",
    "CURL_HOME": "CURLING",
    "CURL_CA_BUNDLE": "CURLS",
    "WGETRC": "WGET",
    "KRB5_CONFIG": "KRB",
    "QT_PLUGIN_PATH": "QTY",
    "GTK_MODULES": "GTKX",
    "GIO_EXTRA_MODULES": "GIOVANNI",
    "LIBMYSQL_PLUGINS": "MYSQL_HOST",
    "MAKEFLAGS": "MAKE_NAME",
    "AWKLIBPATH": "AWKWARD",
    "ASAN_OPTIONS": "ASANA_TOKEN",
    "XDG_CONFIG_HOME": "XDG_SESSION_TYPE",
    "DBUS_SESSION_BUS_ADDRESS": "DB_URL",
    "PATH": "PATH_TO_DATA",
    "HOME": "HOMEPAGE_URL",
    "SEKISHO_HOME": "SEKI",
    "CREDENTIALS_DIRECTORY": "CREDENTIALS",
    "RSYNC_RSH": "RSYNC_USER",
    "VIMINIT": "VIM",
    "TERMINFO": "TERM",
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_would_run_code_or_lead_past_the_gate_is_refused(name: str) -> None:
    assert is_dangerous(name)
    with pytest.raises(Misconfigured, match="not allowed"):
        Grants(environment=(name,))


@pytest.mark.parametrize("name", PAIRS.values())
def test_a_name_that_only_looks_alike_passes(name: str) -> None:
    assert not is_dangerous(name)
    assert Grants(environment=(name,)).environment == (name,)


@given(st.sampled_from(sorted(PAIRS)))
def test_letters_count_in_either_case(name: str) -> None:
    assert is_dangerous(name.lower())
    assert is_dangerous(name.upper())


@given(st.from_regex(r"LD_[A-Z_]{0,12}|PYTHON[A-Z]{1,3}", fullmatch=True))
def test_whatever_the_loader_and_python_may_learn_to_read_is_refused_too(name: str) -> None:
    assert is_dangerous(name)
