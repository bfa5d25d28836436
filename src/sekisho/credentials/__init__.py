"""credentials: what is given to us for a plugin at a URL, and how we come by it (OAuth 2.1, as a client).

Only what a configuration states is imported here, so that reading one costs no cryptography. A plugin server that logs in
takes `opening.open_credentials`, `sekisho login` takes `opening.log_in`; both are imported where they are needed.
"""

from sekisho.credentials.addresses import checked_url
from sekisho.credentials.settings import IdpSettings, OAuthSettings

__all__ = ["IdpSettings", "OAuthSettings", "checked_url"]
