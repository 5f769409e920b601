"""Decides which names belong to secrets: of members, variables, flags, headers and columns."""

from __future__ import annotations

import re
from functools import lru_cache

#: Words of a name whose value is always a secret.
_STRONG = frozenset(
    "password passwords passwd passwds passphrase passphrases passcode pwd secret secrets token tokens"
    " sas sig cookie cookies jwt bearer dsn"
    " connectionstring connectionstrings connstr connstring kubeconfig apikey apikeys accesskey"
    " secretkey privatekey authkey authtoken apitoken accesstoken psk pfx pkcs12 p12 kdbx"
    " artapi securevalue storepass keypass passin passout userpass requirepass masterauth pgpass pincode"
    " passwort kennwort contraseña contrasena senha motdepasse wachtwoord пароль 密码 パスワード".split()
)
#: Words with other meanings too: in a text the value must also look like a secret.
_WEAK = frozenset(
    "key keys credential credentials cred creds signature authorization pass auth auths pat pats pem"
    " cert certs license licence pw passe signingkey salt".split()
)
#: The same joined with another word: dbpassword, authtoken, storagekey; but not monkey.
_STRONG_END = re.compile(
    r"(?:password|passwd|passphrase|secret|token|apikey|connectionstring|connstr|jwt|pwd)s?$"
    r"|(?:account|access|api|app|auth|client|encryption|function|functions|host|master|private|sas|secondary"
    r"|shared|signing|ssh|storage|subscription|license|service|admin|deploy|webhook|hmac|aes|rsa)keys?$"
    r"|(?:db|user|root|my|admin|ssh|pg|smtp|mail|ftp|ldap|rabbit|mq|redis|mongo|mysql|sql|app|key|store"
    r"|keystore|truststore|vnc|rdp|http|proxy|basic|web|svc|service|sudo|become|vault|login|bind|rpc)pass$"
)
_WEAK_END = re.compile(
    r"credentials?$|(?:primary)keys?$|(?:root|user|admin|db)pw$|(?:azure|ado|gh|git)pat$"
)
#: Words after which the value only describes a secret: a place, a kind, a size, a time.
_ABOUT = frozenset(
    "file files path paths dir directory folder name names filename id ids column columns col cols field"
    " fields type types kind size sizes length len count counts limit limits min max policy policies"
    " expiry expires expiration expired lifetime ttl age url urls uri uris endpoint host hostname port"
    " version versions algorithm algorithms alg algo format index ref refs reference references reset"
    " rotation rotated timeout created updated at date time days hours minutes seconds enabled disabled"
    " required optional regex pattern prefix suffix hint source mode method methods scheme schemes scope"
    " scopes audience issuer label usage permission permissions spec class handler manager helper"
    " validator validation parser budget rate stdin prompt fd env var variable provider providers"
    " location thumbprint fingerprint server group status state error errors failure failed exists"
    " attempts retries order separator delimiter words pair pairs generator store vault board words"
    " hasher plugin backend cache ring map space range per strength complexity change changed changes"
    " module modules service services user users username role roles domain realm region context"
    " setting settings template extension extensions property properties"
    " operator controller loader resolver selector option options schema bits bit".split()
)
#: After "secret" these are secrets all the same: a vault's secret_id, a server's secret.
_SECRET_ALL_THE_SAME = frozenset({"id", "ids", "context"})
#: Before a weak word they make it a thing of data: a partition key, a boarding pass.
_OF_DATA = frozenset(
    "partition sort cache host row group hot short range hash lookup index unique natural surrogate"
    " composite candidate join routing dedup idempotency map dict object item metric tag label message"
    " known authorized public foreign registry reg arrow distribution dist shard clustering order json"
    " missing duplicate unknown invalid unexpected search sorting event bucket merge compound enter"
    " any escape shift ctrl function home return backspace press dictionary config setting settings"
    " attribute option first second render one two multi single boarding test tests checks entity record"
    " ordering grouping field column document context feature dimension translation property nested"
    " state no bad wrong top sub this that each every parameter param no_such such argument cookie"
    " aws_s3 s3 blob file recv receive locate refresh".split()
)
#: Before a token they make it a piece of text that a parser met, or a count.
_OF_TEXT = frozenset(
    "unexpected illegal next near current lookahead expected end start eos bos pad unk mask sep cls"
    " max min num total input output prompt completion new generated cancellation first last special"
    " stop vocab n per bad parse lexer invalid_syntax continuation"
    " page sync pagination cached reasoning".split()
)
#: A name that begins so says whether, not what.
_WHETHER = frozenset(
    "no ask skip is has without disable enable allow require show list use uses needs need with check"
    " max min num count prompt validate verify reset rotate generate forgot invalid wrong".split()
)
#: Letters that Python takes for an i, an s or a k where case is ignored.
_LOOKALIKES = str.maketrans({"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_MAX_NAME = 120

STRONG = 2
WEAK = 1


@lru_cache(maxsize=4096)
def secrecy(name: str) -> int:
    """Returns STRONG where the value of a name is a secret, WEAK where it may be one, else 0."""
    if len(name) > _MAX_NAME:
        name = name[-_MAX_NAME:]
    name = name.translate(_LOOKALIKES)
    found = [word.lower() for word in _WORD.findall(name)]
    if not found:
        return 0
    whole = "".join(found)
    numbers = len(found)
    while numbers > 1 and found[numbers - 1].isdigit():
        numbers -= 1
    found = found[:numbers]
    level = _level(found, whole)
    if level and len(found) > 1:
        last = found[-1]
        if last in _ABOUT and _level([last], last) == 0:
            before = _level(found[:-1], "")
            is_kept = last in _SECRET_ALL_THE_SAME and "secret" in found[-2]
            return WEAK if is_kept and before else 0
        if found[0] in _WHETHER and level and found[0] not in ("invalid", "wrong"):
            return 0
    return level


def _level(found: list[str], whole: str) -> int:
    level = 0
    for index, word in enumerate(found):
        before = found[index - 1] if index else ""
        if word in ("token", "tokens") and before in _OF_TEXT:
            continue
        pair = before + word
        if word in _STRONG or _STRONG_END.search(word):
            level = STRONG
        elif word in _WEAK or _WEAK_END.search(word):
            if _STRONG_END.search(pair) and before:
                level = STRONG
            elif before not in _OF_DATA:
                level = max(level, WEAK)
        elif pair in _STRONG:
            level = STRONG
    if not level and whole in _STRONG:
        level = STRONG
    return level


def is_secret_name(name: str) -> bool:
    """Returns whether a member of that name holds a secret: accountKey, DB_PASSWORD, sas-token."""
    return secrecy(name) > 0
