"""`sekisho login`: a person logs in to the server of a plugin that lives at a URL, once.

What comes of it is sealed in the home folder, for the plugin server of that plugin; nothing of it is printed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, find_any, home_of, workload_of
from sekisho.cli.saying import note, say, say_json
from sekisho.config import CoreConfig
from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder

__all__ = ["login"]

Open = Annotated[bool, Parameter(name="--open", negative="", help="Open the page in this machine's browser.")]


def login(
    name: Annotated[str, Parameter(help="The plugin's name.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    open: Open = False,  # noqa: A002 - the word a person types
    json: Json = False,
) -> int:
    """Log in to the server of a plugin at a URL.

    Prints the address of the login page and waits until somebody has logged in there. The page leads back to a port of
    127.0.0.1, so the browser has to run on this machine, or reach that port through a tunnel.
    """
    from sekisho.assembly.places import Places  # noqa: PLC0415
    from sekisho.credentials.opening import log_in, open_with  # noqa: PLC0415
    from sekisho.plugin_server import trusting  # noqa: PLC0415

    found = find_any(config)
    workload = workload_of(found, name)
    if workload.upstream is None or workload.oauth is None:
        raise Misconfigured(
            "config_invalid",
            f"{name} has no login",
            remedy='give it upstream and, in its oauth table, grant = "authorization_code"',
        )
    browser = workload.oauth.browser

    async def open_page(url: str) -> None:
        note(f"log in here: {url}")
        if browser:
            await open_with(browser, url)
        elif open:
            import webbrowser  # noqa: PLC0415 - only when asked

            await asyncio.to_thread(webbrowser.open, url)

    home = home_of(found)
    places = Places(home=home, config=config.absolute())
    trust_domain = found.core_server.trust_domain if isinstance(found, CoreConfig) else None
    issuer, tokens = asyncio.run(
        log_in(
            plugin=name,
            url=workload.upstream,
            settings=workload.oauth,
            home=home,
            keys=KeyFolder(places.keys, trust_domain) if trust_domain else KeyFolder(places.keys),
            clock=time.time,
            open_page=open_page,
            context=trusting(workload.upstream_ca_path),
        )
    )
    if json:
        say_json(
            {"plugin": name, "issuer": issuer, "scopes": list(tokens.scopes), "expires_at": tokens.expires_at}
        )
    else:
        say([f"{name}: logged in at {issuer}" + (f" for {' '.join(tokens.scopes)}" if tokens.scopes else "")])
    return 0
