"""Names of variables that never pass the wall, whoever asks for them.

- A variable is refused when it makes a loader, interpreter, shell or everyday program run code or read its settings
  from elsewhere, when it leads traffic or trust past the gate, or when the walls state it themselves.
- Letters count in either case: npm reads `npm_config_…`, most programs read `http_proxy` as well as `HTTP_PROXY`.
- A few names that begin like dangerous ones and only describe (`NODE_ENV`) pass.

Judgement only: knows names, never values. It is a list of what is known, so it is the second lock; the first is that
nothing passes unless the operator names it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_dangerous"]


def is_dangerous(name: str) -> bool:
    """Would this variable hand over control, or lead past the gate?"""
    upper = name.upper()
    if upper in _HARMLESS:
        return False
    return upper in _NAMES or upper.startswith(_PREFIXES) or upper.endswith(_SUFFIXES)


_HARMLESS: Final = frozenset({"NODE_ENV", "PYTHONUNBUFFERED", "DOTNET_ENVIRONMENT"})

_PREFIXES: Final = (
    # the C library and its loader: code, character sets and locales are loaded from where these point
    "LD_", "DYLD_", "GLIBC_", "MALLOC_", "GCONV_", "NSS_", "RESOLV_",
    # what sanitizers and profilers write, and where to
    "ASAN_", "LSAN_", "MSAN_", "TSAN_", "UBSAN_", "GCOV_", "LLVM_PROFILE",
    # interpreters and what installs for them
    "PYTHON", "PIP_", "PIPX_", "PIPENV_", "UV_", "POETRY_", "PDM_", "CONDA_",
    "NODE_", "NPM_", "YARN_", "PNPM_", "COREPACK_", "BUN_", "DENO_", "TS_NODE_", "ELECTRON_",
    "PERL5", "PERL_", "PERLIO", "PERLLIB", "PERLDB", "RUBY", "GEM_", "BUNDLE_", "BUNDLER_",
    "JAVA_", "_JAVA_", "JDK_", "MAVEN_", "GRADLE_", "DOTNET_", "COMPLUS_", "CORECLR_", "COR_", "MONO_", "NUGET_",
    "PHP_INI_", "COMPOSER_", "LUA_", "TCL", "TK_LIBRARY", "GUILE_", "ERL_", "ELIXIR_", "JULIA_", "R_PROFILE",
    "R_ENVIRON", "R_LIBS", "CARGO_", "RUSTC", "RUSTUP_", "RUSTDOC", "GHC_", "CAML", "OCAML",
    # shells
    "BASH_", "ZDOTDIR",
    # git runs what these name, or reads settings that name what to run
    "GIT_CONFIG", "GIT_SSH", "GIT_SSL", "GIT_EXEC", "GIT_PROXY", "GIT_EXTERNAL", "GIT_TEMPLATE", "GIT_ATTR",
    "GIT_TRACE", "GIT_ALTERNATE", "GIT_OBJECT", "GIT_INDEX", "GIT_REDIRECT", "GIT_ALLOW_PROTOCOL", "GIT_HTTP_PROXY",
    # trust in TLS, and where its keys are written
    "SSL_CERT", "SSLKEYLOG", "OPENSSL_", "GNUTLS_", "P11_KIT", "KRB5", "CURL_", "WGETRC", "SYSTEM_WGETRC",
    # plugins of libraries
    "QT_", "GTK_", "GIO_", "GI_TYPELIB", "GDK_PIXBUF", "GST_", "LIBGL_", "LIBVA_", "ALSA_CONFIG", "MAGICK_",
    "LIBMYSQL_PLUGIN", "ODBC", "SASL_PATH", "LDAPCONF", "VK_",
    # where programs look for their settings, and what speaks to the session or the gateway itself
    "XDG_CONFIG_", "XDG_DATA_DIRS", "XDG_RUNTIME_", "DBUS_", "LISTEN_", "SEKISHO_",
)  # fmt: skip

_SUFFIXES: Final = (
    "_PROXY", "_ASKPASS", "_PRELOAD", "_PAGER", "_EDITOR", "_CA_BUNDLE", "_CAINFO", "_CAFILE", "_RSH",
    "_SSH_COMMAND", "_PROXY_COMMAND", "_EDITOR_COMMAND",
)  # fmt: skip

_NAMES: Final = frozenset(
    {
        "LOCPATH", "NLSPATH", "TZDIR", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "GETCONF_DIR", "LIBPATH",
        "SHLIB_PATH", "SSLKEYLOGFILE", "VIRTUAL_ENV", "CLASSPATH", "ANT_OPTS", "ANT_ARGS", "SBT_OPTS", "JRUBY_OPTS",
        "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES", "PHPRC", "GODEBUG", "GOFLAGS", "GOPROXY", "GOROOT", "GOPATH", "GOENV",
        "GOTOOLCHAIN", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB", "RUSTFLAGS", "OCAMLRUNPARAM", "ENV", "IFS", "SHELL",
        "SHELLOPTS", "BASHOPTS", "CDPATH", "FPATH", "GLOBIGNORE", "PS0", "PS4", "PROMPT_COMMAND", "INPUTRC", "PATH",
        "HOME", "EDITOR", "VISUAL", "PAGER", "BROWSER", "LESSOPEN", "LESSCLOSE", "LESSKEY", "TERMINFO",
        "TERMINFO_DIRS", "TERMCAP", "VIMINIT", "EXINIT", "GVIMINIT", "VIMRUNTIME", "MYVIMRC", "EMACSLOADPATH", "GIT_DIR",
        "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "SVN_SSH", "HGRCPATH", "HG", "HGEDITOR",
        "RSYNC_CONNECT_PROG", "PSQLRC", "PGSERVICEFILE", "PGSYSCONFDIR", "AWKPATH", "AWKLIBPATH", "MAKEFLAGS",
        "GNUMAKEFLAGS", "MAKEFILES", "GS_LIB", "LDAPRC", "PKG_CONFIG_PATH", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET",
        "OCL_ICD_VENDORS", "FAKECHROOT", "FAKEROOTKEY",
    }
)  # fmt: skip
