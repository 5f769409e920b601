"""Lines by hand that hold a secret: what is between « and » may not be read afterwards."""

from __future__ import annotations

LINES = r"""
mariadb -h db -u root -p«Gr33nT3a!» -e "show tables"
mysql --host=db --user root --password="«b lue»b3rry"
MYSQL_PWD=«f00tball» mysqldump app
mysqldump '-p«wint3r coat»' app
7za e backup.7z -p«zip$ecret9» -y
rar a -hp«rar-9x-KEY» out.rar dir
C:\tools\7z.exe x -p"«long secret 7»" a.7z
echo "deploy:«n3w-Passw0rd»" | sudo chpasswd
printf 'bob:%s\n' '«sw0rdf1sh»' | chpasswd
htpasswd -cbB .htpasswd admin «adm1n!!»
net user svc_batch "«C0mpl3x Pass»" /add /expires:never
net.exe use \\fs01\data «Dr1veP@ss» /user:CORP\svc /persistent:no
schtasks /Create /RU CORP\svc /RP "«rp s3cret»" /TN nightly /TR run.cmd
schtasks.exe /create /ru svc /rp:«rp4s3cret» /tn x
ldapsearch -H ldaps://dc -D "cn=svc" -w'«ld@p»x1' -b dc=corp
ldapmodify -x -D cn=admin -w "«ld ap 2»" -f a.ldif
smbclient -U svc%«smb0ss!» //fs/share -c 'get a'
smbclient //fs/share --user=CORP/svc%«smb1ss!»
rpcclient -U "admin%«rpc!pass9»" dc01
sqlplus "system/«0racle#1»@//db:1521/ORCL" @x.sql
impdp scott/«t1gerX9» directory=d dumpfile=f.dmp
vault login -no-print «hvs.CAESIJabcdefghijklmnop1234»
vault write auth/userpass/login/bob password=«v4ultpw»
machine ftp.example.org login me password «netrc!9»
pg.example.org:5432:*:app:«pgp4ss»
default login anonymous password «an0n»
curl --user "svc:«cu rl9»" https://x/y
curl -sSLu svc:«curlp4ss» https://x/y
curl -k -X POST -u 'svc':'«curlq4ss»' https://x/y
curl https://x/y -H "Authorization: Token «tkn8888aaaa»"
curl https://x/y --header "PRIVATE-TOKEN: «prv8888aaaa»"
curl -F client_secret=«clsec777» https://x/token
curl --data-urlencode 'password=«ue nc 9»' https://x
http -a svc:«httpie99» GET https://x
wget --header='X-Auth-Token: «wgt0ken9»' https://x
git remote add o https://x-access-token:«ghtok3n99»@github.com/o/r
git config http.https://dev.azure.com.extraheader "AUTHORIZATION: Basic «OnBhdHRlcm4xMjM0NTY3ODkw»"
pip install --extra-index-url https://«tok3nabc123xyz987qq»@pkgs.example.org/simple x
az login --service-principal --username app --password '«az~sp.9»' --tenant t
az acr login -n reg -u reg -p «acr+p4ss/x»
az batch account login -n a -g g && az batch pool create --json-file p.json --account-key «bkey1234==»
az storage container list --sas-token "?sv=2024&sig=«sigVALUE99»"
az sql server create -u adm -p «sqlAdm9!» -n s
azcopy copy "https://a.blob.core.windows.net/c?sp=r&sig=«azSig%2B99»" /tmp
azcopy login --service-principal --application-id x && export AZCOPY_SPA_CLIENT_SECRET="«spa sec 9»"
aws configure set aws_session_token «FwoGZXIvYXdzEXAMPLE9»
AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY9» aws s3 ls
aws secretsmanager create-secret --name n --secret-string '«sm s3cret»'
aws ssm put-parameter --name p --type SecureString --value «ssmv4lue»
gcloud auth activate-service-account --key-file=k.json && export GOOGLE_API_KEY=«gk99aaaa»
kubectl create secret docker-registry r --docker-username=u --docker-password=«dkr9pass»
kubectl create secret generic s --from-literal=user=me --from-literal='pw=«kube lit 9»'
helm install x --set-string 'auth.postgresPassword=«pg helm 9»'
docker service create --env "POSTGRES_PASSWORD=«dk svc 9»" postgres
docker run --rm -e "ConnectionStrings__Default=Server=db;Password=«cs9;x»" app
docker run -eTOKEN=«attached9» app
docker run --env LICENSE='«lic part 1»'"«lic part 2»" app
docker run -e A="«one»two«three9»" app
docker compose run -e 'K=«compose 9»' web
nerdctl run --env=FOO=«nerd9value» img
singularity exec --env TOKEN=«sing9value» img.sif run
sshpass -p«attached pw9x» ssh u@h
sshpass -p "«sp aced 9»" scp a h:
SSHPASS=«envp4ss» sshpass -e ssh u@h
ansible all -e "ansible_password=«ans9pass»" -m ping
ansible-playbook p.yml -e '{"vault_password": "«json9pass»"}'
psql "postgresql://u:«uri9p4ss»@db/app"
psql "host=db password=«dsn9pass» user=u"
psql -c "ALTER ROLE app PASSWORD '«al ter9»'"
redis-cli -u redis://default:«redis9pw»@cache:6379
redis-cli -h c AUTH «auth9pw»
mongo "mongodb://u:«mong9pw»@h/db"
mongodump -u u -p «mongod9» --db x
sqlcmd -S db -U sa -P"«sql cmd9»" -Q x
bcp t out f -U sa -P «bcp9pass» -S db
isql DSN user «isql9pass»
wpa_passphrase home «wifi9pass»
nmcli dev wifi connect home password «wifi8pass»
openssl enc -aes-256-cbc -k «ssl9pass» -in a
openssl rsa -in k.pem -passin "pass:«pp hrase9»"
openssl pkcs12 -export -passout pass:«p12out» -in c.pem
keytool -importkeystore -srcstorepass «src9pass» -deststorepass «dst9pass»
jarsigner -storepass "«jar9 pass»" -keystore k a.jar
gpg --batch --yes --passphrase="«gpg 9 x»" -c f
echo «gpgp4ss» | gpg --batch --passphrase-fd 0 -d f
echo '«su do9»' | sudo -S -k true
echo «dkrst9in» | docker login r -u u --password-stdin
docker login r -u u --password-stdin <<< "«here9str»"
echo "«pw9 std»" | passwd --stdin bob
cmdkey /generic:TERMSRV/h /user:u /pass:"«cmd key9»"
xfreerdp /v:h /u:u /p:'«rdp 9x»'
psexec.exe \\h -u u -p "«psx 9»" cmd
runas.exe & wmic /node:h /user:u /password:«wmic9pw» process list
tasklist /s h /u u /p «tl9pass»
reg add HKLM\x /v DefaultPassword /d «regp4ss99»
rclone config create r sftp user u pass «rcl0ne9p»
twine upload --username __token__ --password «pypi9pw» dist/*
npm config set _auth «bnBtOmF1dGg5OTk=»
//registry.example.org/:_password=«cGFzczk5OTk5»
poetry config http-basic.priv user «poet9pw»
cargo login --registry r «carg0tok»
nuget sources add -Name n -Source s -UserName u -Password «nu9pass»
dotnet user-secrets set "Db:Password" "«us er sec9»"
mvn deploy -Dserver.password=«mvn9pass»
gradle publish -PsigningPassword=«grad9pw» -PmavenPassword='«gr ad9»'
java -Ddb.pass="«jav a9»" -jar a.jar
terraform init -backend-config="access_key=«tfkey9==»"
TF_VAR_db_password="«tf var9»" terraform apply
export TOKEN=$(echo x) API_SECRET="«multi9sec»" OTHER=1
env DB_PASSWORD='«env pw9»' ./run.sh
sudo -E env TOKEN=«sudo9tok» make
set "SECRET=«quoted set9»" && run.cmd
set TOKEN=«caret9»^&x
run.cmd ^
  --password ^
  «caret cont9»
tool --password \
  --verbose x; tool2 --secret \
  "«cont 9»"
tool --password «par»\
«tial9»
tool --pass"wo"rd «split9name»
"--client-secret"="«eq quoted9»"
$securePwd = ConvertTo-SecureString "«ps secure9»" -AsPlainText -Force
$cred = New-Object PSCredential('u', (ConvertTo-SecureString '«nested9»' -AsPlainText -Force))
Set-ADAccountPassword -NewPassword (ConvertTo-SecureString -AsPlainText "«ad pass9»" -Force)
ConvertTo-SecureString -AsPlainText -Force -String '«ord er9»'
"«pipe9d»" | ConvertTo-SecureString -AsPlainText -Force
$env:DB_PASSWORD="«ps env9»"; .\run.ps1
$headers = @{ "Authorization" = "Bearer «psb3arer9»"; "x-api-key" = '«ps api9»' }
Invoke-Sqlcmd -ServerInstance s -Username u -Password '«inv oke9»'
New-AzBatchPool -Password `
  "«tick 9»"
[System.Environment]::SetEnvironmentVariable("API_KEY","«dotnet9env»","Machine")
$conn.ConnectionString = "Data Source=s;Password=«conn9pw»;"
Start-Process p -ArgumentList "/user:u","/password:«arg9list»"
{"args": ["--user", "u", "--password", "«arr ay9»"]}
{"args":["-e","LICENSE=«arr9env»","img"]}
{"command":["curl","-u","u:«arr9curl»","https://x"]}
["sshpass","-p","«arr9ssh»","ssh","h"]
["docker","login","-u","u","-p","«arr9dock»"]
entrypoint: ["app", "--api-key=«arr9eq»"]
{"env":[{"name":"PATH","value":"/bin"},{"name":"API_TOKEN","value":"«nv tok9»"}]}
{"value":"«rev9val»","type":"secret","name":"CLIENT_SECRET"}
[{"Key":"ConnectionString","Value":"«kv conn9»"}]
{"properties":{"name":"sas","properties":{"value":"x"}},"sasToken":"«sas9tok»"}
{"kubeconfig":"«YXBpVmVyc2lvbjogdjEK»"}
{"cert":"«MIIKcAIBAzCCCiwGCSqGSIb3»"}
{"pem":"-----BEGIN RSA PRIVATE KEY-----\n«MIIEowIBAAKCAQEA7»\n-----END RSA PRIVATE KEY-----\n"}
{"adminPass":"«adm pass9»"}
{"credentials":{"username":"u","passwd":"«cred9pw»"}}
{'Authorization': 'Basic «dXNlcjpwYXNzOTk5»'}
{password:«unq9val»,user:u}
{"a":"{\"b\":\"{\\\"secret\\\":\\\"«deep9»\\\"}\"}"}
{\"password\": \"«cut 9off»
"message": "Cannot open 'Server=s;Uid=u;Pwd=«msg9pw»;'"
passphrase: «ab9cdef»
apiKey: "«yaml key9»"
  password: >-
    «folded9 line»
db:
  pass: «yaml9pass»
  token: '«yaml tok9»'
- --token=«list9flag»
- name: SECRET_KEY
  value: >-
    «block val9»
<Password>«xml9 &amp; more»</Password>
<add name="x" connectionString="Server=s;User=u;Password=«xmlconn9»;" />
<setting name="ApiSecret" serializeAs="String"><value>«xml9set»</value></setting>
<property name="hibernate.connection.password" value="«hib er9»"/>
<entry key="db.password">«entry9»</entry>
password &#61; «html9num»
&lt;password&gt;«html9tag»&lt;/password&gt;
token&#x3d;«html9hex»&amp;x=1
password%20%3D%20«pct9space»
%7B%22password%22%3A%22«pct9json»%22%7D
https://x/?redirect=https%3A%2F%2Fy%2F%3Fsig%3D«nest9sig»%26se%3D1
https://x/#access_token=«frag9tok»&state=1
ftp://u:«ftp:9pw»@h/x
https://u:«p%40ss9»@h/x
smtp://u:«sm@tp9»@mail:587
sentry: https://«0123456789abcdef0123456789abcdef»@o1.ingest.sentry.io/2
https://f.azurewebsites.net/api/f?code=«AbCdEf0123456789_-xyz==»&clientId=default
Password is: «prose9pw»
the password is «prose8pw»
Your new password: «prose7pw»
user=u pass=«log9pass» ip=1.2.3.4
login failed: password=«log8pass»
auth: «log7auth9»
2026-11-30 INFO [cfg] db.password -> «arrow9»
Set-Cookie: sid=«cook9ie»; Secure
x-amz-security-token: «amz9token»
api_key=«k9k9k9»,region=eu
jwt=«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl»
root:«$6$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789»:19000:0:99999:7:::
ssh-keygen -t ed25519 -N "«key phrase9»" -f k
usermod -p '«$6$abc$defghijklmnopqrstuvwxyz»' bob
create user app identified by "«ora cle9»";
CREATE LOGIN l WITH PASSWORD=N'«sql n9»', DEFAULT_DATABASE=d
SET PASSWORD FOR 'u'@'h' = PASSWORD('«my sql9»');
GRANT ALL ON *.* TO 'u'@'%' IDENTIFIED BY '«gr ant9»'
const apiKey = "«js const9»";
let token: string = '«ts tok9»';
password := "«go pw9»"
String password = "«java pw9»";
client = Client(api_key="«py kw9»", timeout=5)
os.environ['SECRET'] = '«py env9»'
os.putenv("DB_PASSWORD", "«putenv 9»")
ENV DB_PASSWORD="«dock er9»"
ENV TOKEN «dock9space»
ARG SECRET='«arg 9»'
Environment="PASSWORD=«systemd 9»"
mount -t cifs //s/x /m -o "user=u,pass=«cifs9pw»,uid=1"
//s/x /m cifs username=u,password=«fstab9»,iocharset=utf8 0 0
wifi-sec.psk=«psk9value»
snmpget -v3 -A «snmp9auth» -X «snmp9priv» h
$ANSIBLE_VAULT_PASSWORD = "«av 9»"
密码: «zh9pw»
пароль=«ru9pw»
mot de passe : «fr9pw»
Kennwort: «de9pw»
--passwort «ge9pw»
""".strip("\n")
