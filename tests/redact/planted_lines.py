"""Lines that hold a secret, as people, programs and services write them; made of templates and values.

`{s}` is where the secret stands as it is, `{q}` where quotes around it let it have spaces and symbols.
Nothing here is taken from the patterns that it is held against: each line is as a manual has it.
"""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote


class Planted(NamedTuple):
    """A line, the parts of its secret that may not be read afterwards, and the kind of the line."""

    kind: str
    line: str
    parts: tuple[str, ...]


TEMPLATES: dict[str, list[str]] = {
    "flags": [
        "tool --password {s} --verbose",
        "tool --password={s}",
        "tool --db-password '{q}' --host db01",
        'tool --api-key "{q}"',
        "az storage blob upload --account-name a --account-key {s} -f out.txt",
        "az login --service-principal -u 0000-1111 -p {s} --tenant contoso",
        "az vm create -n vm1 --admin-username me --admin-password {s}",
        "java -Djavax.net.ssl.keyStorePassword={s} -jar app.jar",
        "java -Dspring.datasource.password='{q}' -jar app.jar",
        "mvn deploy -Drepo.token={s}",
        "ansible-playbook site.yml --extra-vars ansible_become_pass={s}",
        "helm upgrade x ./chart --set db.password={s},db.user=me",
        "terraform apply -var db_password={s}",
        "terraform apply -var 'admin_password={q}'",
        "keytool -genkey -storepass {s} -keypass {s} -alias a",
        "openssl pkcs12 -in a.pfx -passin pass:{s} -nodes",
        "gpg --batch --passphrase {s} -d file.gpg",
        "mc admin user add minio bob --secret-key {s}",
        "cmdkey /add:server /user:me /pass:{s}",
        "setup.exe /quiet /password={s} /norestart",
        "wget --http-password={s} --http-user=me https://example.org/a.tgz",
        "kubectl config set-credentials me --token={s}",
        "gh auth login --token {s}",
        "helm registry login r.example.org -u me -p {s}",
        "plink -pw {s} me@host ls",
        "python run.py --client-secret {s} --tenant t",
        "svc -AccessKey {s} -Region westeurope",
        'start.sh --password \\\n    {s} \\\n    --user me',
        "start.cmd --password ^\n    {s}",
        "Start-Job -Password `\n    {s}",
        '"--password" "{q}"',
        "tool '--auth-token' '{q}'",
        "mytool -Token:{s} -Verbose",
        "tailscale up --authkey={s} --ssh",
    ],
    "environment": [
        "docker run -e DB_PASS={s} -p 80:80 img",
        "docker run -e 'GREETING={q}' img",
        'docker run --env "OTHER={q}" img',
        "docker run --env=X={s} img",
        "docker run -it --rm \\\n  -e \\\n  SOME_NAME={s} img",
        "podman run -eFOO={s} img",
        "export AZURE_CLIENT_SECRET={s}",
        "export GITHUB_TOKEN='{q}'; make",
        "PGPASSWORD={s} psql -h db -U me",
        "set DB_PASSWORD={s}",
        "setx API_TOKEN {s} /m",
        "$env:STORAGE_KEY = '{q}'",
        "[Environment]::SetEnvironmentVariable('DB_PASSWORD', '{q}', 'Machine')",
        "setenv SVC_SECRET {s}",
        "ENV APP_SECRET {s}",
        "ENV DB_PASSWORD={s} DB_USER=me",
        "ARG NPM_TOKEN={s}",
        "docker build --build-arg NUGET_PAT={s} .",
        "Environment=SERVICE_TOKEN={s}",
        'os.environ["DB_PASSWORD"] = "{q}"',
        "heroku config:set SECRET_KEY_BASE={s}",
        "fly secrets set DB_PASSWORD={s}",
        "az container create -n c --secure-environment-variables A={s} B=2",
    ],
    "tools": [
        "mysql -uroot -p{s} -e 'select 1'",
        "mysqladmin -u root -p'{q}' status",
        "mariadb-dump -p{s} db > db.sql",
        "7z x -p{s} archive.7z",
        "7z a -t7z -mhe=on -p'{q}' out.7z dir",
        "unzip -P {s} a.zip",
        "zip -r -P {s} a.zip dir",
        "htpasswd -bc /etc/nginx/.htpasswd me {s}",
        "htpasswd -nb me {s}",
        "echo 'me:{s}' | chpasswd",
        "echo root:{s} | sudo chpasswd",
        "chpasswd <<< 'deploy:{s}'",
        "chpasswd <<EOF\nbob:{s}\nEOF",
        "echo {s} | sudo -S apt-get update",
        "echo '{q}' | docker login -u me --password-stdin r.example.org",
        "net user batchuser {s} /add",
        "net use Z: \\\\srv\\share /user:CORP\\me {s}",
        "net use Z: \\\\srv\\share {s} /user:me",
        "schtasks /create /tn job /tr c:\\a.cmd /sc daily /ru CORP\\svc /rp {s}",
        "ldapsearch -x -D cn=admin,dc=example,dc=org -w {s} -b dc=example",
        "smbclient //srv/share -U me%{s} -c ls",
        "smbclient -U 'CORP\\me%{q}' //srv/share",
        "sqlplus scott/{s}@orcl @run.sql",
        "sqlplus -s scott/{s}",
        "sqlcmd -S srv -U sa -P {s} -Q 'select 1'",
        "bcp db.dbo.t in f.txt -S srv -U sa -P{s}",
        "redis-cli -h r -a {s} ping",
        "mongosh -u me -p {s} mongodb://h",
        "vault login {s}",
        "vault login -method=userpass username=me password={s}",
        "vault kv put secret/app api={s}",
        "sshpass -p {s} ssh me@host",
        "sshpass -p'{q}' scp a me@host:",
        "docker login -u me -p {s} r.azurecr.io",
        "curl -u me:{s} https://example.org/api",
        "curl --user 'me:{q}' https://example.org/api",
        "curl -s -u me:{s} --fail https://example.org",
        "curl -H 'X-Api-Key: {s}' https://example.org",
        "curl -d 'user=me&password={s}' https://example.org/login",
        "kubectl create secret generic db --from-literal=pw={s}",
        "aws configure set aws_secret_access_key {s}",
        "az keyvault secret set --vault-name v --name n --value {s}",
        "nuget push a.nupkg -ApiKey {s} -Source x",
        "dotnet nuget push a.nupkg -k {s} -s x",
        "twine upload -u __token__ -p {s} dist/*",
        "npm config set //registry.npmjs.org/:_authToken {s}",
        "psexec \\\\host -u CORP\\me -p {s} cmd",
        "certutil -f -p {s} -importpfx a.pfx",
        "signtool sign /f a.pfx /p {s} a.exe",
        "wpa_passphrase ssid {s}",
        "mount -t cifs //srv/share /mnt -o username=me,password={s},vers=3.0",
        "machine example.org login me password {s}",
        "db01:5432:app:me:{s}",
        "*:*:*:postgres:{s}",
        "requirepass {s}",
        "ALTER USER app WITH PASSWORD '{q}';",
        "CREATE USER 'a'@'%' IDENTIFIED BY '{q}';",
        "CREATE LOGIN app WITH PASSWORD = '{q}';",
        "ngrok config add-authtoken {s}",
        "cargo login {s}",
        "xfreerdp /v:host /u:me /p:{s}",
        "lftp -u me,{s} sftp://host",
        "ssh-keygen -t rsa -N '{q}' -f id_rsa",
        "ipmitool -H host -U admin -P {s} power on",
        "snmpwalk -v3 -u me -A {s} host",
        "mysql --user=me --password={s}",
        "rclone obscure {s}",
    ],
    "powershell": [
        "New-LocalUser -Name me -Password (ConvertTo-SecureString '{q}' -AsPlainText -Force)",
        'Connect-X -Password (ConvertTo-SecureString "{q}" -AsPlainText -Force) -Url y',
        "$p = ConvertTo-SecureString -String '{q}' -AsPlainText -Force",
        "$p = '{q}' | ConvertTo-SecureString -AsPlainText -Force",
        "Connect-AzAccount -ServicePrincipal -ClientSecret '{q}'",
        "$password = \"{q}\"",
        "$Secret='{q}'; Invoke-Thing -Secret $Secret",
        "Invoke-RestMethod -Headers @{{ Authorization = \"Bearer {s}\" }}",
        "Invoke-RestMethod -Headers @{{ 'api-key' = '{q}' }}",
        "Start-Process x.exe -ArgumentList '--token','{q}'",
    ],
    "urls": [
        "https://me:{s}@example.org/repo.git",
        "git clone https://oauth2:{s}@gitlab.example.org/a/b.git",
        "postgresql://app:{s}@db:5432/app?sslmode=require",
        "amqps://u:{s}@mq.example.org/vhost",
        "redis://:{s}@cache:6379/0",
        "mongodb+srv://u:{s}@cluster0.example.org/db",
        "https://a.blob.core.windows.net/c/f?sv=2024-01-01&sr=b&sig={s}&se=2027-01-01",
        "https://example.org/api?access_token={s}&x=1",
        "GET /v1/items?api_key={s} HTTP/1.1",
        "https://f.azurewebsites.net/api/run?code={s}",
        "wss://example.org/hub?token={s}",
        "jdbc:postgresql://db/app?user=me&password={s}",
        "jdbc:oracle:thin:scott/{s}@//db:1521/x",
        "https://example.org/reset?password={s}#top",
        "index: https://build:{s}@pkgs.example.org/simple/",
    ],
    "headers": [
        "Authorization: Bearer {s}",
        "authorization: Basic {s}",
        "Authorization: token {s}",
        "Proxy-Authorization: Basic {s}",
        "X-Api-Key: {s}",
        "x-functions-key: {s}",
        "Ocp-Apim-Subscription-Key: {s}",
        "Cookie: session={s}; theme=dark",
        "Set-Cookie: auth={s}; Path=/; HttpOnly",
        "X-Vault-Token: {s}",
        "PRIVATE-TOKEN: {s}",
        "{{\"Authorization\": \"Bearer {s}\"}}",
        "-H \"Authorization: Bearer {s}\"",
        "git -c http.extraheader='AUTHORIZATION: bearer {s}' clone https://x",
    ],
    "json": [
        '{{"password": "{q}", "user": "me"}}',
        '{{"user":"me","clientSecret":"{q}"}}',
        '{{"connStr": "{q}"}}',
        '{{"auth": "{s}", "ok": true}}',
        '{{"jwt": "{s}"}}',
        '{{"bearer": "{s}"}}',
        '{{"pass": "{s}"}}',
        '{{"pat": "{s}"}}',
        '{{"pfx": "{s}"}}',
        '{{"dsn": "{s}"}}',
        '{{"name": "DB_PASSWORD", "value": "{q}"}}',
        '{{"value": "{q}", "name": "DB_PASSWORD"}}',
        '{{"key":"api-key","type":"string","value":"{q}"}}',
        '{{"value":"{q}","slot":false,"name":"STORAGE_KEY"}}',
        '["run", "--password", "{q}", "--fast"]',
        "['app', '--token', '{q}']",
        'CMD ["server", "--secret", "{q}"]',
        '{{"cmd": ["mysql", "-u", "root", "-p{s}"]}}',
        '"{{\\"password\\": \\"{s}\\"}}"',
        '{{"a": {{"b": [{{"accessToken": "{q}"}}]}}}}',
        '{{"password":\n   "{q}"\n}}',
        "{{'api_key': '{q}', 'n': 1}}",
        "{{password: \"{q}\"}}",
        '{{"tokens": ["{s}"]}}',
        '{{"error":"login failed for --password {s}"}}',
        '{{"auths":{{"r.example.org":{{"auth":"{s}"}}}}}}',
    ],
    "connection strings": [
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={s};EndpointSuffix=core.windows.net",
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={s}",
        "Server=tcp:db,1433;Database=d;User ID=me;Password={s};Encrypt=True",
        "Data Source=db;User Id=me;Pwd={s}",
        "AccountEndpoint=https://x.documents.azure.com:443/;AccountKey={s};",
        "host=db user=me password={s} dbname=app",
        "InstrumentationKey=0;ApiKey={s}",
        "conn = \"Server=db;Uid=me;Pwd={s};\"",
        "Driver={{ODBC Driver 18}};Server=db;UID=me;PWD={s}",
    ],
    "config": [
        "password: {s}",
        "password: '{q}'",
        "db_password = {s}",
        "spring.datasource.password={s}",
        "aws_secret_access_key = {s}",
        "//registry.npmjs.org/:_authToken={s}",
        "  api-key: \"{q}\"",
        "- name: API_TOKEN\n  value: {s}",
        "- name: API_TOKEN\n  value: \"{q}\"",
        "password: |\n  {s}\n",
        "stringData:\n  password: {s}\n",
        "args:\n  - --password\n  - {s}",
        "[client]\nuser=me\npassword={s}",
        "smtp_pass={s}",
        "root_pw: {s}",
        "secret_key_base: {s}",
        "ANSIBLE_VAULT_PASSWORD={s}",
        "password => '{q}'",
        "PASSWORD := {s}",
        "variable \"db_password\" {{\n  default = \"{q}\"\n}}",
        "define('DB_PASSWORD', '{q}');",
        "<password>{s}</password>",
        "<add key=\"StorageKey\" value=\"{s}\"/>",
        "<AdministratorPassword><Value>{s}</Value></AdministratorPassword>",
        "<server><username>me</username><password>{s}</password></server>",
        "<connectionString name=\"x\" connectionString=\"Server=db;Password={s}\"/>",
        "psk=\"{q}\"",
    ],
    "messages": [
        "2026-11-30T10:00:00Z ERROR login failed user=me password={s} host=db",
        "Password: {s}",
        "Client secret: {s}",
        "API key: {s} (expires 2027)",
        "your access token is: token={s}",
        "Could not connect with 'Server=db;Password={s}': timeout",
        "command failed: tool --token {s}: exit code 1",
        "Bad credentials for https://me:{s}@example.org/",
        "fatal: Authentication failed for 'https://build:{s}@dev.azure.com/o/_git/r'",
        "az: error near \"--account-key {s}\"",
        "Storage account key: {s}",
        "the refresh_token={s} was refused",
    ],
    "written otherwise": [
        "password&#61;{s}",
        "password&equals;{s}",
        "password&#x3D;{s}",
        "&quot;password&quot;:&quot;{s}&quot;",
        "password%3D{s}",
        "password%253D{s}",
        "password\\u003d{s}",
        "sig\\u003d{s}\\u0026x",
        "bash -c 'tool --password {s}'",
        "bash -c \"PGPASSWORD={s} psql\"",
        "sh -c 'bash -c \"tool --token {s}\"'",
        "cmd /c \"set PASSWORD={s}&& run.exe\"",
        "powershell -Command \"& {{ tool -Password '{s}' }}\"",
        "ssh host 'docker run -e A={s} img'",
        "eval \"export SECRET_KEY='{s}'\"",
        "пароль: {s}",
        "контейнер --password {s} запущен",
        "パスワード={s}",
        "C:\\tools\\run.exe --password {s} --out C:\\temp\\x",
        "\"C:\\Program Files\\x\\\" --password \"{s}\"",
    ],
}


def _random(of: random.Random, letters: str, count: int) -> str:
    return "".join(of.choice(letters) for _ in range(count))


def plain_value(of: random.Random) -> str:
    """A secret that a shell takes without quotes."""
    kind = of.randrange(6)
    if kind == 0:
        return of.choice(["hunter", "Summer", "letmein", "Qwerty", "dragon"]) + str(of.randrange(10, 9999)) + "z"
    if kind == 1:
        return _random(of, "0123456789abcdef", 32)
    if kind == 2:
        return "Z" + _random(of, string.ascii_letters + string.digits + "_.-", 14) + "9x"
    if kind == 3:
        return base64.b64encode(of.randbytes(33)).decode().replace("/", "A")
    if kind == 4:
        return "p4" + _random(of, string.ascii_letters + string.digits + "+_-.~", 18) + "Q7"
    return _random(of, string.ascii_lowercase, 5) + "-" + _random(of, string.digits, 4) + "-" + _random(of, string.ascii_uppercase, 4)


def quoted_value(of: random.Random) -> str:
    """A secret that only quotes keep together."""
    kind = of.randrange(4)
    if kind == 0:
        return "correct horse " + _random(of, string.ascii_lowercase + string.digits, 8)
    if kind == 1:
        return "P@ss;w0rd&" + _random(of, string.ascii_letters, 6)
    if kind == 2:
        return "größe#" + _random(of, string.digits, 6) + "!ü"
    return plain_value(of)


def _shapes(of: random.Random) -> Iterator[tuple[str, str]]:
    """Tokens that services give, bare in a text."""
    alnum = string.ascii_letters + string.digits
    hexa = "0123456789abcdef"
    upper = string.ascii_uppercase + "234567"
    word = alnum + "_-"
    yield "AWS", "AKIA" + _random(of, upper, 16)
    yield "AWS", "ASIA" + _random(of, upper, 16)
    yield "Google", "AIza" + _random(of, word, 35)
    yield "Google", "ya29." + _random(of, word, 60)
    yield "OpenAI", "sk-" + _random(of, alnum, 48)
    yield "OpenAI", "sk-proj-" + _random(of, word, 60)
    yield "Anthropic", "sk-ant-api03-" + _random(of, word, 80)
    yield "Stripe", "sk_live_" + _random(of, alnum, 24)
    yield "Stripe", "rk_live_" + _random(of, alnum, 24)
    yield "Stripe", "whsec_" + _random(of, alnum, 32)
    yield "Docker", "dckr_pat_" + _random(of, word, 27)
    yield "Databricks", "dapi" + _random(of, hexa, 32)
    yield "PyPI", "pypi-AgEIcHlwaS5vcmc" + _random(of, word, 80)
    yield "npm", "npm_" + _random(of, alnum, 36)
    yield "GitHub", "ghp_" + _random(of, alnum, 36)
    yield "GitHub", "github_pat_" + _random(of, alnum, 22) + "_" + _random(of, alnum, 59)
    yield "GitLab", "glpat-" + _random(of, word, 20)
    yield "SendGrid", "SG." + _random(of, word, 22) + "." + _random(of, word, 43)
    yield "Slack", "xoxb-" + _random(of, string.digits, 12) + "-" + _random(of, alnum, 24)
    yield "Slack", "https://hooks.slack.com/services/T" + _random(of, upper, 8) + "/B" + _random(of, upper, 8) + "/" + _random(of, alnum, 24)
    yield "Entra", _random(of, alnum, 3) + "8Q~" + _random(of, alnum + "_.~-", 34)
    yield "Azure DevOps", _random(of, "abcdefghijklmnopqrstuvwxyz234567", 52)
    yield "Azure DevOps", _random(of, alnum, 76) + "AZDO" + _random(of, alnum, 4)
    yield "Azure", base64.b64encode(of.randbytes(64)).decode()
    yield "Hugging Face", "hf_" + _random(of, alnum, 34)
    body = [base64.urlsafe_b64encode(x).decode().rstrip("=") for x in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"%d"}' % of.randrange(10**9), of.randbytes(32))]
    yield "JWT", ".".join(body)
    yield "Vault", "hvs." + _random(of, alnum, 90)
    yield "DigitalOcean", "dop_v1_" + _random(of, hexa, 64)


SENTENCES = [
    "used {} for the call",
    "run.sh {} --fast",
    'log: "{}" refused',
    "value={}",
    "first line\n{}\nlast line",
    "https://example.org/{}",
]


def _fragments(secret: str) -> tuple[str, ...]:
    return tuple({secret, secret[-8:], secret[: max(8, len(secret) // 2)]})


def planted(seed: int = 20261130, each: int = 3) -> list[Planted]:
    """Every template with values of its own, every shape, and what is wrapped and joined."""
    of = random.Random(seed)
    lines = []
    for kind, templates in TEMPLATES.items():
        for template in templates:
            for _ in range(each):
                secret = quoted_value(of) if "{q}" in template else plain_value(of)
                lines.append(Planted(kind, template.format(s=secret, q=secret), _fragments(secret)))
    for _ in range(each):
        for _, token in _shapes(of):
            tail = token.rsplit("/", 1)[-1] if token.startswith("https") else token
            lines.append(Planted("shapes", of.choice(SENTENCES).format(token), _fragments(tail)))
        lines += _wrapped(of)
        lines += _joined(of)
    return lines


def _wrapped(of: random.Random) -> Iterator[Planted]:
    """Texts with a secret, encoded, escaped or wrapped at 64 or 76 letters."""
    for width in (64, 76):
        secret = plain_value(of)
        text = f"#!/bin/sh\n# {_random(of, string.ascii_lowercase, 90)}\nexport DB_PASSWORD={secret}\n"
        code = base64.b64encode(text.encode()).decode()
        rows = [code[i : i + width] for i in range(0, len(code), width)]
        yield Planted("wrapped", "echo\n" + "\n".join(rows) + "\n| base64 -d", tuple(rows[1:2]))
    secret = plain_value(of)
    text = f"tool --password {secret}"
    code = base64.b64encode(text.encode("utf-16-le")).decode()
    yield Planted("wrapped", f"powershell -EncodedCommand {code}", (code,))
    code = base64.b64encode(f'{{"password": "{secret}"}}'.encode()).decode()
    yield Planted("wrapped", f"settings: {code}", (code,))
    yield Planted("wrapped", quote(f"https://x/?a=1&sig={secret}", safe=""), (secret,))
    yield Planted("wrapped", html.escape(f'<add password="{secret}"/>'), (secret,))
    yield Planted("wrapped", json.dumps(json.dumps({"a": {"password": secret}})), (secret,))
    key = "\n".join(_random(of, string.ascii_letters + string.digits, 64) for _ in range(4))
    for label in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"):
        pem = f"-----BEGIN {label}-----\n{key}\n-----END {label}-----"
        yield Planted("wrapped", pem, (key[:40], key[-40:]))
        yield Planted("wrapped", json.dumps({"file": pem}), (key[:40], key[-40:]))


def _joined(of: random.Random) -> Iterator[Planted]:
    """Values of adjacent parts and over lines, as shells join them."""
    one = _random(of, string.ascii_letters, 7) + "1"
    two = _random(of, string.ascii_letters, 7) + "2"
    for line in (
        f"tool --password '{one}'\"{two}\"",
        f"tool --password={one}'{two}'",
        f"mysqladmin -p'{one}'\"{two}\" ping",
        f"docker run -e NAME=\"{one}\"'{two}' img",
        f"tool --password {one}\\\n{two}",
        f"tool --password '{one}'\\''{two}'",
        f"curl -u me:'{one}'{two} https://x",
        f"export PASSWORD=\"{one} \"'{two}'",
        f"tool --password {one}\\ {two}",
        f"tool --token $'{one}\\'{two}'",
    ):
        yield Planted("joined", line, (one, two))
