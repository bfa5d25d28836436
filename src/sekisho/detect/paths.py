"""Arguments that are no names and no places: paths that climb, addresses that point inward.

Most rules are anchored at the opening quotation mark of a JSON string (`START`), which cannot occur inside one. So a
file whose *content* holds `"../../lib"` is left alone, while a value that *is* such a path is found. Whether a path
stays inside its folder is the sandbox's business and where a name leads is the egress proxy's; this only names what
no honest caller writes.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from sekisho.detect.rule import ARGUMENTS, START, Group, rule, starts

__all__ = ["PATHS"]

_UP: Final = r"(?:\.{2,4}|%2e%2e|\.%2e|%2e\.)"
_SLASH: Final = r"(?:/|\\\\|%2f|%5c)"
_ODD_UP: Final = (
    r"(?:(?:%(?:25){1,4}(?:2e|c0%(?:25)?ae)){2}|(?:0x2e){2}|(?:%c0%(?:ae|2e|5e|ee|fe)|%c0%25ae"
    r"|%e0%(?:80%ae|40%ae)|%f0%80%80%ae|%uff0e|%u002e|%ae|%00\.){2}"
    r"|\.\.%(?:25(?:2f|5c)|c0%(?:af|2f|5c|9v)|c1%(?:9c|1c|af|pc)|e0%80%af|f0%80%80%af|u2215|u2216|uefc8"
    r"|uf025|00|bg%qf|25c0%25af|25c1%259c|c0%25af)"
    r"|\.\.0x(?:2f|5c)|%2e%2e(?:0x2f|%25|%c0|%c1|0x5c|%u2)|(?:%2e%2e|\.\.)(?:%5c|%2f){2}|\.{4,6}(?:/"
    r"|\\\\)(?:/|\\\\)|\.\.;/|\.\?\./|\.\.(?:\\\\/|/\\\\|///))"
)
_UP_KEYS: Final = (r"\.\.(?:/|\\\\|%)", "%2e")
_PATH: Final = r"[^\" ]{0,200}"
_INSIDE: Final = (
    r"(?:(?:[a-z0-9.-]{1,60}\.)?(?:localhost|localdomain|localtest\.me|nip\.io|xip\.io|sslip\.io|lvh\.me"
    r"|127\.0\.0\.1|burpcollaborator\.net|1u\.ms|rbndr\.us|domaincontrol\.com)\b"
    r"|127\.[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}\b|0\.0\.0\.0|0(?:[:/\"]|\.0)|0x7f|0177\.|017700000001"
    r"|2130706433|3232235521|2852039166"
    r"|\[(?:::|0{1,4}:|::ffff:|f[cd][0-9a-f]{2}:|fe80:)|10\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"
    r"|192\.168\.[0-9]{1,3}\.[0-9]{1,3}\b|172\.(?:1[6-9]|2[0-9]|3[01])\.[0-9]{1,3}\.[0-9]{1,3}\b)"
)
_METADATA: Final = (
    r"(?:169\.254\.169\.254|169\.254\.170\.2|100\.100\.100\.200|192\.0\.0\.192|168\.63\.129\.16"
    r"|metadata\.(?:google\.internal|goog|azure|tencentyun)|metadata/|instance-data\b|rancher-metadata"
    r"|\[?fd00:ec2::254|\[?fd20:ce::254|\[(?:0:){0,5}:{0,2}(?:ffff:)?(?:169\.254\.169\.254|a9fe:a9fe)\]"
    r"|0xa9fea9fe|0xa9\.0xfe|0251\.0376|2852039166|169\.254\.43518)"
)


_argument = partial(rule, where=ARGUMENTS)


PATHS: Final = (
    _argument(
        Group.TRAVERSAL,
        "climb",
        "a path that climbs two or more folders",
        rf"(?i){START}{_PATH}{_UP}{_SLASH}{{1,3}}(?:\.{_SLASH}{{1,2}}){{0,3}}{_UP}(?:{_SLASH}|\")",
        keys=_UP_KEYS,
        harmless="../notes.txt",
        harmful="../../notes/secret.txt",
        reach=260,
    ),
    _argument(
        Group.TRAVERSAL,
        "climb_disguised",
        "a climbing path in an encoding that only deceives filters",
        rf"(?i){START}[^\"]{{0,200}}{_ODD_UP}",
        keys=(
            "%25",
            "0x2e",
            "%c0",
            "%e0",
            "%f0",
            "%uff",
            "%u002e",
            "%ae",
            "%00",
            "%c1",
            "%u2",
            "%ue",
            "%uf",
            "%bg",
            "0x2f",
            "0x5c",
            "%5c",
            "%2f",
            r"\.\.(?:\\|/)",
            r"\.(?:\?|;)",
        ),
        harmless="a%20b/...and so on... https://x.example/?q=%2e",
        harmful="..%252f..%252fetc",
        reach=240,
        refuse=True,
    ),
    _argument(
        Group.TRAVERSAL,
        "climb_once",
        "a path that climbs out of an absolute or encoded folder",
        rf"(?i){START}(?:(?:/|\\\\){{1,3}}{_UP}{_SLASH}|(?:%2e|\.){{1,2}}(?:%2f|%5c)|%2e%2e{_SLASH}"
        rf"|\.{{2,3}}\\\\|\.\./(?:etc|root|var|proc|windows|boot)|\.{{3,4}}/|[^\" ]{{1,80}}/\.\.(?:\\\\"
        rf"|%2f|%5c)|\\\\\.\.|[^\" ]{{0,100}}\.\./[^\" ]{{1,60}}(?:%00|\\\\u0000|\\\\x00))",
        keys=(r"\.\.(?:/|\\\\|%)", "%2e", r"\.(?:%2f|%5c)", *starts(r"\\\\\.\.")),
        harmless="src/../notes.txt, ../lib",
        harmful="/../etc/passwd",
    ),
    _argument(
        Group.TRAVERSAL,
        "sensitive_file",
        "a path to a file that holds accounts, keys or the state of the machine",
        rf"(?i){START}(?:file://(?:localhost)?|[^\" ]{{0,160}}(?:/|\\\\))?(?:/?(?:etc/(?:passwd|shadow"
        r"|group|gshadow|sudoers|master\.passwd|security/|crontab|cron\.|ssh/|hosts|hostname|issue|motd"
        r"|mysql/|my\.cnf|apache2?/|httpd/|nginx/|php|profile|bashrc|resolv\.conf|inetd\.conf|fstab"
        r"|exports|vsftpd|proftpd|ftp|pam|redhat-release|lsb-release|samba|ldap|network/|aliases"
        r"|login\.defs|apt/|environment|init|logrotate|syslog|services|protocols|mtab|lighttpd|tomcat"
        r"|knockd|at\.(?:allow|deny))"
        r"|proc/(?:self|version|cmdline|[0-9]{1,6}/|mounts|net/|cpuinfo|meminfo|sched_debug|filesystems"
        r"|interrupts|ioports|modules|stat|swaps)|root/\.[a-z]|var/(?:log|run|mail|spool|apache"
        r"|lib/mysql|www/logs|adm|htmp|cpanel)|usr/local/(?:etc|apache|nginx|php|psa|cpanel|zeus|pgsql)"
        r"|(?:opt|usr)/(?:lampp?|xampp|nginx|apache|pkg|php))"
        r"|(?:[^\" ]{0,60}(?:/|\\\\))?(?:\.ssh(?:/|\\\\|\")|\.aws/|\.gnupg|\.kube/config|\.docker/config"
        r"|\.netrc|\.pgpass|\.npmrc|\.git-credentials|\.htpasswd|\.htaccess|id_rsa|id_ed25519|id_dsa"
        r"|authorized_keys|known_hosts|\.bash_history|\.mysql_history|\.zsh_history|\.vault-token"
        r"|boot\.ini|win\.ini|system\.ini|php\.ini|httpd\.conf|web\.config|global\.asa|ntuser\.dat"
        r"|config/sam|repair/sam|wp-config\.php|unattend\.xml|sysprep\.inf))",
        keys=(
            "etc/",
            "proc/",
            r"root/\.",
            "var/",
            "usr/local/",
            "/(?:lamp|xampp|nginx|apache|pkg|php)",
            r"\.ssh",
            r"\.aws/",
            r"\.gnupg",
            r"\.kube/",
            r"\.docker/",
            r"\.netrc",
            r"\.pgpass",
            r"\.npmrc",
            r"\.git-cred",
            r"\.htpasswd",
            r"\.htaccess",
            "id_rsa",
            "id_ed25519",
            "id_dsa",
            "authorized_keys",
            "known_hosts",
            "_history",
            r"\.vault-token",
            r"boot\.ini",
            r"win\.ini",
            r"system\.ini",
            r"php\.ini",
            r"httpd\.conf",
            r"web\.config",
            r"global\.asa",
            r"ntuser\.dat",
            "/sam",
            r"wp-config\.php",
            r"unattend\.xml",
            r"sysprep\.inf",
        ),
        harmless="/home/you/project/etc_notes.txt",
        harmful="/etc/shadow",
        reach=260,
    ),
    _argument(
        Group.TRAVERSAL,
        "windows_system",
        "a path into the system folders of Windows, a device or a share of another machine",
        rf"(?i){START}(?:[a-z]:)?(?:\\\\|/){{1,2}}(?:windows|winnt|winxp|inetpub|boot\.ini"
        r"|program files\\\\(?:apache|xampp|php|mysql)|xampp|php[0-9]?|apache|mysql|sysprep"
        r"|users\\\\administrator|documents and settings)(?:\\\\|/|\")"
        rf"|{START}\\\\\\\\[^\" ]{{1,100}}\\\\(?:c|admin|ipc)\$",
        keys=(
            "windows",
            "winnt",
            "winxp",
            "inetpub",
            r"boot\.ini",
            "program files",
            "xampp",
            "php",
            "apache",
            "mysql",
            "sysprep",
            "administrator",
            "documents and settings",
            r"[cn]\$",
            r"ipc\$",
        ),
        harmless=r"C:\Users\me\notes.txt",
        harmful=r"C:\inetpub\wwwroot\web.config",
    ),
    _argument(
        Group.ADDRESS,
        "metadata",
        "the address of a cloud's metadata service, which hands out credentials",
        rf"(?i){START}[ ]?(?:[a-z][a-z0-9+.-]{{1,12}}:)?(?:(?:/|\\\\){{2}}[^\"/ ]{{0,80}})?{_METADATA}"
        r"|//(?:169\.254\.169\.254|metadata\.google\.internal)",
        keys=(
            r"169\.254\.",
            r"100\.100\.100\.200",
            r"192\.0\.0\.192",
            r"168\.63\.129\.16",
            "metadata",
            "instance-data",
            "fd00:ec2",
            "fd20:ce",
            "a9fe:a9fe",
            "0xa9",
            r"0251\.0376",
            "2852039166",
            r"425\.510",
        ),
        harmless="read about 169.254.169.254 in the manual of the metadata service",
        harmful="http://169.254.169.254/latest/meta-data/",
        refuse=True,
    ),
    _argument(
        Group.ADDRESS,
        "inside",
        "an address on this machine or in a private network",
        rf"(?i){START}(?:url:)?(?:https?|ftp|ws|wss)?:?(?://|/\\\\"
        rf"|\\\\\\\\)(?:[^\"/ @]{{0,60}}@){{0,2}}{_INSIDE}",
        keys=(
            "//local",
            "localhost",
            "localdomain",
            "localtest",
            r"nip\.io",
            r"xip\.io",
            r"sslip\.io",
            r"lvh\.me",
            r"[/@.\\]127\.",
            "burpcollaborator",
            r"1u\.ms",
            r"rbndr\.us",
            "domaincontrol",
            r"[/@\\](?:0[:/x1\"]|0\.0|10\.|192\.168|172\.[123]|\[[0:f])",
            "2130706433",
            "3232235521",
            "2852039166",
            "017700000001",
            r"127\.0\.0\.1",
        ),
        harmless="https://docs.example/localhost",
        harmful="http://127.0.0.1:6379/",
        reach=240,
    ),
    _argument(
        Group.ADDRESS,
        "odd_scheme",
        "an address with a scheme that reads files or speaks raw protocols",
        rf"(?i){START}(?:url:)?(?:file|gopher|dict|tftp|ldaps?|jar|netdoc|phar|expect|zip|glob|ogg|rar"
        rf"|sftp|local_file|view-source|php|data:text/html|javascript|vbscript|jndi)(?::/{{1,3}}"
        rf"|:[^ \"/])[^\"]{{1}}",
        keys=(
            *starts(
                "(?:url:)?(?:file|gopher|dict|tftp|ldaps?|jar|netdoc|phar|expect|zip|glob|ogg|rar|sftp|local_file|view-source|php|data:text/html|javascript|vbscript|jndi):"
            ),
        ),
        harmless="profile: mine. file name: a.txt",
        harmful="gopher://127.0.0.1:25/_HELO",
    ),
    _argument(
        Group.ADDRESS,
        "disguised_host",
        "an address whose host is written to look like another",
        rf"(?i){START}(?:https?:"
        rf"|ftp:)?[/\\]{{2,6}}[^\"/ ]{{0,80}}(?:@(?:[^\"/ @]{{1,60}}\.[a-z]{{2,6}}/[^\" ]{{0,20}}(?:%2e"
        rf"|%2f|\.\.)|0x|[0-9]{{8,11}}|[0-9]{{1,3}}\.[0-9]{{1,3}}\.|@|\[)|\\\\@|%40|%00|%0d|%0a|#@|&@|;@"
        r"|%E3%80%82|。|．|①|ⓔ|ⓖ)"
        rf"|{START}(?:/{{3,8}}|/?https?:/{{3,8}}|//|/?(?:%2f|%5c|%09|%0d|%0a){{1,4}}(?:/|%2f|\\\\)?"
        rf"|/\\\\{{1,4}}/?|\\\\\\\\?/{{1,4}}|/(?:%5c|%2f|%09)|/?https?:(?:/?[^/\" ]|\\\\|%0a|%0d)"
        r"|/https?://"
        rf"|/{{1,2}}[^\" /]{{1,60}}@)[a-z0-9%.@:/\\-]{{0,60}}[a-z0-9-]{{2,40}}\.[a-z]{{2,6}}(?:[/%\"?]"
        r"|\\\\)"
        rf"|{START}(?:https?:)(?://)?(?:0x[0-9a-f]{{2,8}}(?:[./\"]|\.0x)"
        rf"|0[0-7]{{2,4}}\.0?|[0-9]{{8,11}}(?:[/:\"])"
        rf"|[3-9][0-9]{{2}}\.[0-9]{{2,3}}\.[0-9]{{2,3}}\.[0-9])",
        keys=(
            r"@[a-z0-9%.:/@\\\[-]",
            r"\\@",
            "%40",
            "%00",
            "%0[da]",
            "[#&;]@",
            "%E3%80%82",
            "。",
            "．",
            "①",
            "ⓔ",
            "ⓖ",
            *starts(
                "//",
                "/{1,3}https?:",
                r"/\\",
                r"\\\\",
                "%",
                "/%",
                "https?:/{3}",
                "https?:[^/]",
                "https?:/[^/]",
                r"\?/",
                "https?:(?://)?0",
                "https?:(?://)?[0-9]{8}",
                r"https?:(?://)?[3-9][0-9]{2}\.",
            ),
        ),
        harmless="https://user@host.example/inbox, // a comment",
        harmful="https://shop.example@0x7f000001/",
    ),
)
