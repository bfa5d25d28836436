"""A real WordPress: Debian's package, a MariaDB and PHP's own web server, in one folder and on no port of the machine.

`install` copies the files, makes the database and the users, and gives each an application password. Everything ends with
the world it is started in.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.private_world import World

PROGRAMS: Final = {
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "php": "php-cli",
}
SOURCE: Final = Path("/usr/share/wordpress")
PORT: Final = 8000
START_S: Final = 60.0

_CONFIG: Final = """<?php
define('DB_NAME', 'wordpress'); define('DB_USER', 'root'); define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:%(socket)s'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
foreach (array('AUTH','SECURE_AUTH','LOGGED_IN','NONCE') as $name) {
    define($name . '_KEY', '%(salt)s' . $name); define($name . '_SALT', '%(salt)s' . $name);
}
define('WP_HOME', 'https://%(host)s'); define('WP_SITEURL', 'https://%(host)s');
define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true); define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_CONTENT_DIR', __DIR__ . '/wp-content');
$table_prefix = 'wp_';
$_SERVER['HTTPS'] = 'on';  /* TLS ends before PHP */
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""

_ROUTER: Final = """<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/' && is_file(__DIR__ . $path)) return false;
$_SERVER['SCRIPT_NAME'] = '/index.php';
require __DIR__ . '/index.php';
"""

_INSTALL: Final = """<?php
define('WP_INSTALLING', true);
$_SERVER['HTTP_HOST'] = '%(host)s'; $_SERVER['REQUEST_URI'] = '/'; $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
require __DIR__ . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
function wp_mail() { return true; }
wp_install('A test site', 'admin', 'admin@example.com', true, '', bin2hex(random_bytes(12)));
global $wp_rewrite;
$wp_rewrite->set_permalink_structure('/%%postname%%/');
flush_rewrite_rules(false);
$made = array();
foreach (array('editor', 'subscriber') as $role) {
    $id = wp_insert_user(array('user_login' => $role, 'user_pass' => bin2hex(random_bytes(12)), 'role' => $role,
        'user_email' => $role . '@example.com'));
    list($password) = WP_Application_Passwords::create_new_application_password($id, array('name' => 'sekisho'));
    $made[$role] = $password;
}
$made['version'] = $GLOBALS['wp_version'];
fwrite(STDOUT, "\\n" . json_encode($made) . "\\n");
"""

_POST: Final = """<?php
$_SERVER['HTTP_HOST'] = '%(host)s'; $_SERVER['REQUEST_URI'] = '/'; $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
require __DIR__ . '/wp-load.php';
kses_remove_filters();
$given = json_decode(stream_get_contents(STDIN), true);
$id = wp_insert_post(wp_slash(array('post_title' => $given['title'], 'post_content' => $given['content'],
    'post_status' => 'publish', 'post_author' => 1)));
fwrite(STDOUT, "\\n" . json_encode($id) . "\\n");
"""


@dataclass(frozen=True, slots=True)
class WordPressSite:
    """A running site; the passwords are those of applications, by user."""

    world: World
    folder: Path
    passwords: dict[str, str]
    version: str

    def plant(self, title: str, content: str) -> int:
        """A post that came into the database some other way, unfiltered; returns its number."""
        script = self.folder / "plant.php"
        script.write_text(_POST % {"host": self.world.host})
        return int(_php(self.world, script, json.dumps({"title": title, "content": content})))


def require() -> None:
    """Skip when Debian's packages are not there."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if not (SOURCE / "wp-settings.php").exists():
        missing.add("wordpress")
    elif not missing and "mysqli" not in subprocess.run(
        ["php", "-m"], capture_output=True, text=True, check=True  # noqa: S607
    ).stdout:  # fmt: skip
        missing.add("php-mysql")
    if missing:
        pytest.skip(f"no WordPress on this machine: apt install {' '.join(sorted(missing))}")


def install(world: World) -> WordPressSite:
    """Set up everything and start it."""
    folder, data = world.folder / "wordpress", world.folder / "mariadb"
    # Its libraries are links into other packages; the copy stands alone.
    shutil.copytree(SOURCE, folder, ignore_dangling_symlinks=True)
    shutil.copytree(
        "/var/lib/wordpress/wp-content",
        folder / "wp-content",
        dirs_exist_ok=True,
        ignore_dangling_symlinks=True,
    )
    socket = data / "s"
    names = {"host": world.host, "socket": socket, "salt": secrets.token_hex(16)}
    (folder / "wp-config.php").unlink()  # Debian's own looks into /etc
    (folder / "wp-config.php").write_text(_CONFIG % names)
    (folder / "router.php").write_text(_ROUTER)
    (folder / "install.php").write_text(_INSTALL % names)
    _start_database(world, data, socket)
    made: dict[str, Any] = json.loads(_php(world, folder / "install.php"))
    world.start(
        "site", "php", "-d", "display_errors=0", "-S", f"127.0.0.1:{PORT}", "-t", str(folder),
        str(folder / "router.php"),
    )  # fmt: skip
    assert world.start_tls(PORT).line() == {"event": "ready"}
    version = str(made.pop("version"))
    return WordPressSite(world, folder, made, version)


def _start_database(world: World, data: Path, socket: Path) -> None:
    data.mkdir()
    make = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    subprocess.run(
        [*make, "--auth-root-authentication-method=normal"], check=True, capture_output=True, timeout=120
    )
    started = world.start(
        "site", "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--user=root",
        "--skip-networking", f"--pid-file={data / 'pid'}", "--innodb-flush-log-at-trx-commit=0",
        "--init-file=" + str(_first_words(data)),
    )  # fmt: skip
    pause = threading.Event()
    for _ in range(int(START_S / 0.1)):
        if "ready for connections" in started.log.read_text(errors="replace"):
            return
        assert started.process.poll() is None, started.log.read_text(errors="replace")[-2000:]
        pause.wait(0.1)
    pytest.fail("the database did not start: " + started.log.read_text(errors="replace")[-2000:])


def _first_words(data: Path) -> Path:
    path = data / "first.sql"
    path.write_text("CREATE DATABASE wordpress CHARACTER SET utf8mb4;\n")
    return path


def _php(world: World, script: Path, given: str = "") -> str:
    """The last line a script prints."""
    words = world.words("site", "php", "-d", "display_errors=0", str(script))
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]
