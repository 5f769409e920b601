"""Lines without a secret, as they stand in start tasks, logs and settings: they must stay readable."""

from __future__ import annotations

LINES = r"""
/bin/bash -c 'set -euo pipefail; apt-get update && apt-get install -y python3-pip'
cmd /c "echo %PATH% && dir C:\Windows\System32"
docker run --rm -v /mnt/batch:/mnt -u app:app image:1.2.3
docker run -d -p 8080:80 --name web nginx:1.27
docker run --user 1000:1000 --entrypoint /bin/sh busybox
docker run -e HOME -e PATH image
docker run -e DB_PASSWORD=$DB_PASSWORD image
docker run -e "DB_PASSWORD=${DB_PASSWORD}" image
docker run --env API_TOKEN=%API_TOKEN% image
tool --password $PASSWORD --verbose
tool --password "${DB_PASSWORD}" --host db
tool --password %DB_PASSWORD%
tool --password $(cat /run/secrets/db)
tool --password "$(az keyvault secret show -n db --vault-name v --query value -o tsv)"
tool --token-file /var/run/secrets/token --verbose
tool --password-file /run/secrets/pw
tool --password-file=C:\secrets\pw.txt
vault login -method=azure role=batch
--token-file ./token.txt
--key-file=/etc/ssl/private/server.key
--key /etc/ssl/private/server.key --cert /etc/ssl/certs/server.pem
openssl req -key server.key -out server.csr
ssh -i ~/.ssh/id_rsa me@host uptime
ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null host
scp -i /home/me/.ssh/key.pem a.txt host:/tmp
sort --key=2 -t, data.csv
sort -k 2,2n --key 3 data.csv
join --key-column id left.csv right.csv
csvcut --key-column customerId data.csv
cache restore --cache-key linux-deps-v3
restore-keys: linux-deps-
cache-key: deps-v1
key: value
key=name
partitionKey=customerId
partitionKey=/tenant/region
{"partitionKey": "tenantId", "rowKey": "0001"}
primary key: id
PRIMARY KEY (id)
foreign key: order_id
public key: ssh-rsa
sort key: timestamp
host key: /etc/ssh/ssh_host_ed25519_key
Host key verification failed.
monkey=banana turkey=bird
bypass=true
bypass: corporate proxy
compass=north
keyboard: de
PASS=0 FAIL=1
PASS: 12 FAIL: 0 SKIP: 3
tests: pass=10 fail=2
unexpected token: }
SyntaxError: Unexpected token < in JSON at position 0
syntax error near unexpected token `newline'
unexpected token: EOF at line 3
invalid token at line 12
token expired at 10:00
the token: expired
max_tokens=4096 temperature=0.1
max_new_tokens: 512
--max-tokens 2048
prompt_tokens=120 completion_tokens=30 total_tokens=150
tokenizer=bert-base-uncased
--tokenizer bert-base-uncased
pad_token=<pad> eos_token=</s>
next token: identifier
continuation_token=None
GET /health?code=200 HTTP/1.1
exited with ?code=137
https://example.org/a?code=200&x=1
https://example.org/x?version=1&id=2
https://example.org:8443/path/to/file.tgz
https://user@example.org/x
https://contoso@dev.azure.com/contoso/p/_git/repo
git clone git@github.com:org/repo.git
git clone ssh://git@github.com/org/repo.git
sftp://backup@host/data
abfss://data@account.dfs.core.windows.net/raw/2026
wasbs://data@account.blob.core.windows.net/raw
Password: required
password must have at least 8 characters
Enter password for user me:
Permission denied (publickey,password).
password authentication failed for user "app"
invalid password; token expired; login failed
login failed for user 'sa'
The password has expired
password=
password: null
password=""
PASSWORD=${PASSWORD}
password: {{ vault_db_password }}
password: "{{ lookup('env', 'DB_PASSWORD') }}"
password: ${{ secrets.DB_PASSWORD }}
password: !vault |
password: <your-password>
password: "********"
token=$TOKEN
TOKEN=$(cat token.txt)
TOKEN=`cat token.txt`
export PASSWORD
export SECRET_FILE=/run/secrets/db
secretName: db-credentials
secret_name=db-credentials
secretKeyRef:
kubectl get secret db -o yaml
kubectl create secret generic db --from-file=pw=./pw.txt
az keyvault secret show --name db-password --vault-name kv1
az storage blob list --auth-mode login --account-name a
az batch pool list --account-name b --account-endpoint b.westeurope.batch.azure.com
auth_type=ManagedIdentity
authMethod: none
--auth-mode login
auth=none
oauth=false
author: Jane Doe
authority=https://login.microsoftonline.com/common
Authorization failed: the identity has no role
WWW-Authenticate: Bearer realm="x"
use a bearer token instead
bearer tokens are not allowed
Basic authentication is off
signature verification failed
signal=SIGTERM sig=9
signed by: Microsoft Corporation
design=modern signage=on
credentials: managed identity
credential_type=msi
credentialsFile: /root/.aws/credentials
cookie policy: strict
cookies=true
certificate verify failed: unable to get local issuer certificate
cert: /etc/ssl/certs/ca.pem
--cacert /etc/ssl/ca.pem
pattern=*.txt path=/mnt/data
PATH=/usr/local/bin:/usr/bin:/bin
PWD=/mnt/batch/tasks/startup/wd
pwd: /mnt/batch/tasks
mysql -h db -u root -p app
mysql -P 3306 -h db
mysqldump --single-transaction app > app.sql
psql -h db -U app -d app -c 'select 1'
sqlcmd -S srv -E -Q "select 1"
redis-cli -h cache -p 6379 ping
7z x archive.7z -oout -y
unzip -o archive.zip -d /opt/app
zip -r out.zip dir
net use Z: \\server\share
net use Z: /delete
net user
net start w32time
net stop spooler
schtasks /query /tn job
curl -fsSL https://example.org/install.sh | bash
curl -u $USER:$PASS https://example.org
curl -H "Authorization: Bearer $TOKEN" https://example.org
curl -H 'Accept: application/json' https://example.org
wget -q https://example.org/a.tgz -O /tmp/a.tgz
grep -e foo=bar file | sed -e 's/a=b/c/'
echo -e "name=value\n" > out
rsync -e ssh -av a/ host:b/
python train.py --lr 0.1 --epochs=5 --seed 42
python -m pip install --index-url https://pypi.org/simple requests==2.32.0
java -Xmx4g -Dfile.encoding=UTF-8 -jar app.jar
dotnet build -p:Configuration=Release -p:Version=1.2.3
mkdir -p /opt/app && cp -p a b && ssh -p 22 host
ps -p 1234 -o pid,cmd
nc -u host 514
sudo -u app whoami
chown -R app:app /opt/app
tar xzf a.tgz -C /opt && ls -la
standard_d4s_v3 batch.node.ubuntu 22.04
tvmps_c27912941bb3fa0a0bb3890a6fca7bf95b0301eb1ece4281e29cc40998898313_d
/subscriptions/4a3d2b1c-0000-4444-8888-123456789abc/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709
commit 3f786850e387550fdab836ed7e6dc881de23001b
integrity: sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
ETag: "0x8D4EDFEBFADF4AB"
RequestId:0f7a8b2c-1e2d-4c3b-9a8f-001122334455
The specified blob does not exist. Time:2026-11-21T10:00:00.1234567Z
task-0123456789abcdefghij finished, risk-free, disk-full
sk-learn-model-training-pipeline
C:\Users\me\AppData\Local\Temp\log.txt
"C:\Program Files\Tool\tool.exe" --input "D:\data\in.csv"
powershell -NoProfile -ExecutionPolicy Bypass -File C:\scripts\setup.ps1
$cred = Get-Credential
Connect-AzAccount -Identity
New-LocalUser -Name me -Password (Read-Host -AsSecureString)
$TargetDedicatedNodes=min(10,avg($PendingTasks.GetSample(TimeInterval_Minute*5)));
password = getpass.getpass()
token = os.environ["API_TOKEN"]
secret = config.get_secret()
api_key=settings.api_key
{"level":"info","msg":"pool resized","nodes":12}
{"name": "PATH", "value": "/usr/bin"}
{"value": "blue", "name": "colour"}
["run", "--key-column", "id", "--input", "a.csv"]
["tool", "--password-file", "/run/pw"]
FROM mcr.microsoft.com/dotnet/runtime:8.0 AS base
ENV PATH /opt/venv/bin:$PATH
ENV LANG=C.UTF-8
ARG VERSION=1.2.3
server.port=8080 logging.level.root=INFO
user: app
name: build
host=db port=5432 dbname=app user=app
Server=tcp:db,1433;Database=d;Authentication=Active Directory Default
AccountName=a;EndpointSuffix=core.windows.net
東京 über naïve café
ошибка: файл не найден
エラー: ディスクがいっぱいです
größe=10 straße: lang
50% done, 100% sure, a%20b%20c
if [ "$KEY" = "x" ]; then echo yes; fi
for key in a b c; do echo $key; done
passwd: user 'bob' does not exist
getent passwd app
cat /etc/passwd | wc -l
keyvault: kv-prod-01
keys: 12, values: 12
api version=2024-07-01.20.0
don't use it; it's broken and can't be fixed
""".strip().split("\n")
