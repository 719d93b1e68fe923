"""What must not leave the site: secrets, people, addresses and names of other hosts are replaced by stable words, and counted.

Rules err on the side of taking away: a serial number is hardware and stays, a token is none and goes. What is replaced by a
numbered word (``user-1``, ``node-7``, ``address-3``) is the same word everywhere in one bundle, so that a reader can still follow it.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import ipaddress
import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from hpcaccept.serial import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Names whose value is nobody's business.
_SECRET_WORD = (
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|api[_.-]?key|access[_.-]?key|account[_.-]?key|shared[_.-]?access|private[_.-]?key|signing[_.-]?key|credential|"
    r"authorization|auth[_.-]?key|bearer|cookie|client[_.-]?key|encryption[_.-]?key|license[_.-]?key|session[_.-]?id|webhook|dsn|connection[_.-]?string|sas[_.-]?url)"
)
_SECRET_NAME = _SECRET_WORD + r"[\w.-]{0,64}"
_SECRET_KEY = re.compile(rf"{_SECRET_WORD}s?(?:[_.-]?(?:hash|value|text|id|b64|base64))?$", re.IGNORECASE)
#: Of those, what may be a number: a token may be counted, a password is none the less one.
_SECRET_NUMBER = re.compile(r"(?:passw(?:or)?d|passphrase|pwd|secret|pin)$", re.IGNORECASE)
#: Whole, or torn: then what looks like its lines (a line end may be the two characters that JSON writes for it).
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:(?:(?!-----BEGIN).)*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|"
    r"(?:(?:\\[nr]|\s)+[A-Za-z0-9+/=]{10,}(?![^\s\\\"']))*)",
    re.DOTALL,
)
#: ``name=value``, ``name: value``, ``"name": "value"`` (also inside a JSON string, where quotes are escaped), ``--name value``.
_NAMED = re.compile(
    rf"(?P<name>{_SECRET_NAME})(?P<sign>\\{{0,8}}[\"']?\s*[=:]\s*|\s+(?=\S))"
    r"(?P<value>\\{1,8}\"(?:(?!\\{1,8}\").)*\\{1,8}\"|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|(?:(?:bearer|basic|token|negotiate)\s+)?[^\s\"'\\,;&\ue001-\ue003]+)",
    re.IGNORECASE,
)
#: Escaped line ends and tabs, each as one character of the private area, which is part of no word.
_APART = {"\\n": "\ue001", "\\r": "\ue002", "\\t": "\ue003"}
_ESCAPED = re.compile(r"\\[nrt]")
_TOGETHER = str.maketrans({word: escaped for escaped, word in _APART.items()})
_QUOTE = re.compile(r"(?:\\{0,8}[\"'])?")
_BEARER = re.compile(r"(?P<kind>\b(?:bearer|basic|negotiate)\s+)[A-Za-z0-9+/._~=-]{8,}", re.IGNORECASE)
#: Forms that issuers have given their tokens so that they can be found: GitHub, GitLab, Hugging Face, NVIDIA, Slack, OpenAI and Anthropic, AWS,
#: Google, npm, PyPI, Docker, Grafana, Vault, SendGrid, Stripe, DigitalOcean, Weights & Biases of today; JSON web tokens.
#: (https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml)
KNOWN_TOKEN = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w.-]{16,}|hf_[A-Za-z0-9]{16,}|"
    r"api_org_[A-Za-z0-9]{16,}|nvapi-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|sk-[\w-]{16,}|(?:sk|rk|pk)_(?:live|test)_\w{10,}|"
    r"(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{10,}|GOCSPX-[\w-]{10,}|npm_\w{30,}|pypi-[\w-]{30,}|"
    r"dckr_[a-z]{2,5}_[\w-]{16,}|glsa_\w{16,}|hv[sb]\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_\w{16,}|wandb_v1_\w{16,}|"
    r"eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*)"
)
#: crypt(3), as in /etc/shadow.
_CRYPT = re.compile(r"\$(?:[0-9]|2[abxy]|y|gy|7|md5|sha1)\$[./A-Za-z0-9$,=+-]{8,}")
#: ``curl -u ann:hunter2``, ``login ann:hunter2``.
_USER_PASSWORD = re.compile(
    r"(?P<what>(?<![\w-])(?:-u|-U|--(?:proxy-)?user|--creds?|log[io]n|login as)(?:\s*[=:]\s*|\s+)[\"']?)(?P<user>[A-Za-z_][\w.+-]*):(?P<word>[^\s\"'\\/]+)",
    re.IGNORECASE,
)
#: ``"auth": "dXNlcjpwYXNz"`` of ~/.docker/config.json: user and password in base64.
_DOCKER_AUTH = re.compile(
    r"(?P<what>\bauth\\{0,8}[\"']?\s*[=:]\s*\\{0,8}[\"']?)(?P<value>[A-Za-z0-9+/]{6,}={0,2})", re.IGNORECASE
)
#: Parameters by which a signed URL opens something (Azure, AWS, Google), where no URL stands before them.
_SIGNED = re.compile(
    r"(?P<name>(?<![\w-])(?:sig|signature|X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|GoogleAccessId|AWSAccessKeyId)=)[^\s&\"'\\\ue001-\ue003]+",
    re.IGNORECASE,
)
#: A web hook's path is its secret.
_HOOK = re.compile(
    r"(?P<host>\b(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com))/[^\s\"'\\]+",
    re.IGNORECASE,
)
#: Base64 with its signs, which the long words below do not have: keys of AWS and Azure. A path has longer runs of one kind.
_BASE64 = re.compile(r"(?<![\w+/.-])[A-Za-z0-9+][A-Za-z0-9+/]{37,}={0,2}(?![\w+/=-])")
_IN_URL = re.compile(r"(?P<scheme>[a-z0-9+.-]{1,16}://)[^\s/@\"'\\]{1,2000}@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<url>://[^\s?\"'\\]{1,500})\?[^\s\"'\\]+", re.IGNORECASE)
#: A long word of mixed letters and digits: most likely a key. Digests and UUIDs are hexadecimal and stay.
_LONG = re.compile(
    r"(?<![\w+/-])(?!(?:GPU|MIG|MIG-GPU)-[0-9a-f]{8}-)"
    r"(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])(?=[\w+-]*\d)[A-Za-z0-9+_-]{36,}={0,2}"
)
_MAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_MAC = re.compile(
    r"(?<![0-9A-Fa-f:.-])(?:(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})"
    r"(?![0-9A-Fa-f:-]|\.[0-9A-Fa-f])"
)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d]|\.\d)")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.:]*(?<![.])(?:%\w+)?(?![0-9A-Za-z:])")
_HOME = re.compile(r"(?P<base>(?:/(?:export|data|mnt|nfs|lustre|gpfs))?/(?:home|users|Users|u)/)(?P<user>[\w.+-]+)")
#: ``~ann/x``, and ``ann@`` before a host that is known.
_TILDE = re.compile(r"(?<![\w./~-])~(?P<user>[A-Za-z_][\w.-]*)(?=[/\s:\"'\\,;)\ue001-\ue003]|$)")
_AT_HOST = re.compile(r"(?<![\w.+-])(?P<user>[A-Za-z_][\w.+-]{0,63})@(?P<host>[A-Za-z0-9][\w.-]*)")
_ROOT = re.compile(r"(?<![\w/.-])/root(?=[/\s:\"'\\,;)]|$)", re.MULTILINE)
_UID = re.compile(r"(?P<what>\b(?:uid|gid|groups?)=\d+)\((?P<user>[^)\n]+)\)")
_USER = re.compile(
    r"(?P<what>(?<![\w.-])(?:user(?:name|id)?|logname|owner|submitted by|sudo_user)[\"']?\s*[=:]\s*[\"']?)(?P<user>[A-Za-z_][\w.@+-]*)",
    re.IGNORECASE,
)
_PRIVATE_NAME = re.compile(
    r"(?<![\w.-])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:local|localdomain|internal|intranet|intra|lan|corp|cluster|private|home|arpa|svc|consul|domain)\b(?!\.)"
)
#: A run of letters and digits with what may stand between the parts of a host name.
_WORDS = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")
_PIECE = re.compile(r"[A-Za-z0-9]+")
#: Parts of a host name that are looked at together.
_LONGEST_NAME = 8
#: What follows a name after a dot and is no domain: a number, the kind of a file.
_NO_DOMAIN = re.compile(r"\d+|log|out|err|txt|json|jsonl|csv|xml")
_HARMLESS = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1"})
SECRET = "[secret]"
#: Users whose name says nothing of a person.
_NOBODY = frozenset({"root", "nobody", "slurm", "munge", "daemon", "user"})


class Redactor:
    """Replaces what must not leave the site. The same thing becomes the same word in every text.

    Args:
        keep: host names that may be told (the node that the bundle is about, by its short name).
        hosts: every other host name that is known.
        users: user names that are known.
        keep_names: True where host names may be told; secrets, people and addresses never are.
    """

    def __init__(
        self, keep: Iterable[str] = (), hosts: Iterable[str] = (), users: Iterable[str] = (), keep_names: bool = False
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._words: dict[str, dict[str, str]] = {}
        self._keep_names = keep_names
        self._kept = {name.lower(): name for name in keep if name}
        self._hosts: dict[str, str] = {}
        for name in () if keep_names else sorted({host.lower() for host in hosts if host}):
            if name not in self._kept and name != "localhost":
                self._hosts.setdefault(name, f"node-{len(self._hosts) + 1}")
        short = {name.partition(".")[0]: word for name, word in self._hosts.items()}
        self._hosts |= {
            name: word for name, word in short.items() if name not in self._hosts and name not in self._kept
        }
        self._starts = {_PIECE.findall(name)[0] for name in (*self._hosts, *self._kept) if _PIECE.search(name)}
        self._told: dict[str, str] = {}
        self._folded = self._folded_names()
        self._domain = self._domain_names()
        self._users = [
            name for name in sorted(set(users), key=len, reverse=True) if len(name) > 1 and name not in _NOBODY
        ]

    def text(self, text: str) -> str:
        """The text without secrets, people, addresses and names of other hosts."""
        text = self._sub("private keys", _PEM, text, lambda m: SECRET)
        # Written twice, as repr() and JSON do, a line end is a backslash and a letter, and the letter no part of what follows it.
        return self._words_of(_ESCAPED.sub(lambda m: _APART[m[0]], text)).translate(_TOGETHER)

    def _words_of(self, text: str) -> str:
        text = self._secrets(text)
        text = self._sub("mail addresses", _MAIL, text, lambda m: "[mail]")
        text = _AT_HOST.sub(self._at_host, text)
        text = _HOME.sub(lambda m: m["base"] + self._user(m["user"]), text)
        text = _TILDE.sub(lambda m: f"~{self._user(m['user'])}", text)
        text = self._sub("home folders", _ROOT, text, lambda m: "~")
        text = _UID.sub(lambda m: f"{m['what']}({self._user(m['user'])})", text)
        for name in self._users:
            text = self._sub("secrets", _password_of(name), text, lambda m: f"{m['user']}:{SECRET}")
        text = _USER.sub(lambda m: m["what"] + self._user(m["user"]), text)
        for name in self._users:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", lambda m: self._user(m[0]), text)
        text = self._sub("MAC addresses", _MAC, text, lambda m: self._word("mac", m[0].lower()))
        text = _IPV4.sub(lambda m: self._address(m[0]), text)
        text = _IPV6.sub(lambda m: self._address(m[0]), text)
        return text if self._keep_names else self._names(text)

    def plain(self, thing: Any) -> Any:
        """What JSON can hold, without what must not leave the site: each text by itself, before it is written.

        In written JSON a line end is two characters, and a secret behind it the rest of a word; a quote that is taken away with a value
        breaks the file. A value whose key names a secret goes whole.
        """
        if isinstance(thing, str):
            return self.text(thing)
        if isinstance(thing, dict):
            return {self.text(str(key)): self._under(str(key), value) for key, value in thing.items()}
        if isinstance(thing, (list, tuple)):
            return [self.plain(one) for one in thing]
        return thing

    def table(self, text: str) -> str:
        """A table of commas, each cell by itself: a quote that goes with a secret would take the rest of the table with it."""
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        for row in csv.reader(io.StringIO(text)):
            rows.writerow([self.text(cell) for cell in row])
        return out.getvalue()

    def _secret(self) -> str:
        self.counts["secrets"] += 1
        return SECRET

    def _gone(self, value: Any, key: str) -> Any:
        """What stands under the name of a secret: every text in it, whatever holds it."""
        if isinstance(value, dict):
            return {self.text(str(name)): self._gone(one, key) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._gone(one, key) for one in value]
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and _SECRET_NUMBER.search(key)
        return self._secret() if number or (isinstance(value, str) and value) else value

    def _under(self, key: str, value: Any) -> Any:
        if _SECRET_KEY.search(key):
            return self._gone(value, key)
        if not isinstance(value, str) or not value:
            return self.plain(value)
        # "user": "alice" is told as "user=alice" would be.
        told = self.text(f"{key}={value}")
        return told[len(key) + 1 :] if told.startswith(f"{key}=") else self.text(value)

    def lines(self, text: str) -> str:
        """A file of JSON lines; a line that is none is a text like any other."""
        return "".join(f"{self._line(line)}\n" for line in text.splitlines())

    def _line(self, line: str) -> str:
        try:
            thing = loads(line)
        except ValueError:
            return self.text(line)
        return json.dumps(self.plain(thing), ensure_ascii=False, separators=(",", ":"))

    def report(self) -> list[str]:
        """What was replaced, how often; never what it was."""
        return [f"{what}: {count}" for what, count in sorted(self.counts.items())]

    def _secrets(self, text: str) -> str:
        text = self._sub("secrets", _NAMED, text, self._named)
        text = self._sub("secrets", _BEARER, text, lambda m: m["kind"] + SECRET)
        text = self._sub("secrets", KNOWN_TOKEN, text, lambda m: SECRET)
        text = self._sub("secrets", _CRYPT, text, lambda m: SECRET)
        text = self._sub("secrets", _DOCKER_AUTH, text, self._docker_auth)
        text = self._sub("secrets", _USER_PASSWORD, text, lambda m: f"{m['what']}{self._user(m['user'])}:{SECRET}")
        text = self._sub("secrets", _HOOK, text, lambda m: f"{m['host']}/{SECRET}")
        text = self._sub("secrets", _IN_URL, text, lambda m: m["scheme"] + f"{SECRET}@")
        text = self._sub("secrets", _QUERY, text, lambda m: m["url"] + f"?{SECRET}")
        text = self._sub("secrets", _SIGNED, text, lambda m: m["name"] + SECRET)
        text = self._sub("secrets", _BASE64, text, lambda m: SECRET if _is_mixed(m[0]) else m[0])
        return self._sub("secrets", _LONG, text, lambda m: SECRET)

    def _sub(self, what: str, pattern: re.Pattern[str], text: str, word: Callable[[re.Match[str]], str]) -> str:
        def replaced(match: re.Match[str]) -> str:
            new = word(match)
            self.counts[what] += new != match[0]
            return new

        return pattern.sub(replaced, text)

    @staticmethod
    def _named(match: re.Match[str]) -> str:
        """Only the value goes, its quotes stay; ``secrets: 12`` of our own report is no secret, but is not worth an exception."""
        value = match["value"]
        quote = _QUOTE.match(value)[0]  # type: ignore[index]
        return f"{match['name']}{match['sign']}{quote}{SECRET}{quote}"

    @staticmethod
    def _docker_auth(match: re.Match[str]) -> str:
        try:
            says = base64.b64decode(match["value"] + "=" * (-len(match["value"]) % 4))
        except (binascii.Error, ValueError):
            return match[0]
        return match["what"] + SECRET if b":" in says else match[0]

    def _at_host(self, match: re.Match[str]) -> str:
        host = match["host"].lower()
        known = any(name in self._hosts or name in self._kept for name in (host, host.partition(".")[0]))
        return f"{self._user(match['user'])}@{match['host']}" if known else match[0]

    def _word(self, kind: str, thing: str) -> str:
        known = self._words.setdefault(kind, {})
        return known.setdefault(thing, f"{kind}-{len(known) + 1}")

    def _user(self, name: str) -> str:
        if name.lower() in _NOBODY or re.fullmatch(r"user-\d+", name):
            return name
        self.counts["user names"] += 1
        if name not in self._users:
            # Once a name is known it goes from everything that follows.
            self._users.append(name)
        return self._word("user", name)

    def _address(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text
        if str(address) in _HARMLESS:
            return text
        self.counts["IP addresses"] += 1
        return self._word("address", str(address))

    def _names(self, text: str) -> str:
        if self._folded:
            text = self._sub("host names", self._folded, text, lambda m: "[nodes]")
        if self._domain:
            text = self._sub("host names", self._domain, text, self._of_domain)
        text = _WORDS.sub(lambda m: self._hosts_in(m[0]), text)
        return self._sub("host names", _PRIVATE_NAME, text, lambda m: self._word("host", m[0].lower()))

    def _domain_names(self) -> re.Pattern[str] | None:
        """Any name in a domain that a known host is in: storage and login nodes are in no list of a run."""
        domains = {name.partition(".")[2] for name in (*self._hosts, *self._kept)}
        some = "|".join(re.escape(domain) for domain in sorted(domains, key=len, reverse=True) if "." in domain)
        return re.compile(rf"(?<![\w.-])(?:[A-Za-z0-9-]+\.)*(?:{some})(?![\w-]|\.\w)", re.IGNORECASE) if some else None

    def _of_domain(self, match: re.Match[str]) -> str:
        name = match[0].lower()
        known = any(one in self._hosts or one in self._kept for one in (name, name.partition(".")[0]))
        return match[0] if known else self._word("host", name)

    def _hosts_in(self, word: str) -> str:
        """The word with known names replaced; logs say the same words again and again."""
        if word not in self._told:
            self._told[word] = self._replaced_in(word)
        new = self._told[word]
        self.counts["host names"] += new != word
        return new

    def _replaced_in(self, word: str) -> str:
        """Known names among the pieces of a word, the longest first, with the domain that follows one."""
        pieces = [match.span() for match in _PIECE.finditer(word)]
        parts, done, i = [], 0, 0
        while i < len(pieces):
            found = self._name_at(word, pieces, i) if word[slice(*pieces[i])].lower() in self._starts else None
            if found is not None:
                j, new = found
                while j + 1 < len(pieces) and word[pieces[j][1] : pieces[j + 1][0]] == ".":
                    if _NO_DOMAIN.fullmatch(word[slice(*pieces[j + 1])]):
                        break
                    j += 1
                parts += [word[done : pieces[i][0]], new]
                done, i = pieces[j][1], j
            i += 1
        return "".join(parts) + word[done:]

    def _name_at(self, word: str, pieces: list[tuple[int, int]], i: int) -> tuple[int, str] | None:
        """The longest known name that begins with a piece: its last piece, and what to say for it."""
        for j in range(min(len(pieces), i + _LONGEST_NAME) - 1, i - 1, -1):
            name = word[pieces[i][0] : pieces[j][1]].lower()
            if new := self._hosts.get(name) or self._kept.get(name):
                return j, new
        return None

    def _folded_names(self) -> re.Pattern[str] | None:
        """``node[1-3,7]``: what schedulers write for several names at once."""
        stems = {re.sub(r"\d+$", "", name.partition(".")[0]) for name in (*self._hosts, *self._kept)} - {""}
        if not self._hosts or not stems:
            return None
        some = "|".join(re.escape(stem) for stem in sorted(stems, key=len, reverse=True))
        return re.compile(rf"(?<![A-Za-z0-9])(?:{some})\d*\[[\d,\s-]+\]\d*", re.IGNORECASE)


def _password_of(name: str) -> re.Pattern[str]:
    """Behind a user who is known, what follows a colon is a password before it is anything else."""
    return re.compile(rf"(?<![A-Za-z0-9])(?P<user>{re.escape(name)}):[^\s:/\\\"',;][^\s\"'\\,;]*")


def _is_mixed(text: str) -> bool:
    """True where kinds of characters change as often as in what was made at random; names and paths have longer runs of one kind."""
    kinds = ["Aa0"[0 if c.isupper() else 1 if c.islower() else 2] for c in text]
    return len(set(kinds)) == 3 and sum(a != b for a, b in itertools.pairwise(kinds)) >= len(text) / 4
