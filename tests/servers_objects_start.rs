//! The object stores that other tests rely on do what these rely on, as clients see it that know nothing of us.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use backstay_test_servers::azure::Azurite;
use backstay_test_servers::moto::Moto;
use backstay_test_servers::s3::{Minio, Rclone, Server, Versitygw};
use backstay_test_servers::{Daemon, python, terraform, until};

/// Says what a call answers: its value as text, or the code of its error.
const S3: &str = "
import boto3, sys
from botocore.config import Config
from botocore.exceptions import ClientError
s3 = boto3.client('s3', config=Config(s3={'addressing_style': 'path'}, retries={'total_max_attempts': 1}))
def say(call):
    try:
        print(call())
    except ClientError as e:
        print(e.response['ResponseMetadata']['HTTPStatusCode'], e.response['Error']['Code'])
body = lambda **at: s3.get_object(Bucket='bucket', **at)['Body'].read().decode()
put = lambda key, text, **more: s3.put_object(Bucket='bucket', Key=key, Body=text.encode(), **more).get('VersionId', 'put')
once = lambda key, text: put(key, text, IfNoneMatch='*')
";

fn s3(server: &Server, script: &str) -> String {
    s3_as(server, (server.access_key(), server.secret_key()), script)
}

fn s3_as(server: &Server, (access, secret): (&str, &str), script: &str) -> String {
    ran(python::python().envs(server.env_of(access, secret)).args(["-c", &format!("{S3}{script}")]))
}

/// What it printed, lines parted by `|`.
fn ran(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().replace('\n', "|")
}

const WRITE_ONCE: &str = "
say(lambda: s3.create_bucket(Bucket='bucket') and 'made')
say(lambda: once('k', 'one'))
say(lambda: once('k', 'two'))
say(lambda: body(Key='k'))
";

#[test]
fn s3_servers_write_once_but_for_the_one_that_must_be_refused() {
    let conditional = "made|put|412 PreconditionFailed|one";
    assert_eq!(s3(&Versitygw::start(), WRITE_ONCE), conditional);
    assert_eq!(s3(&Minio::start(), WRITE_ONCE), conditional);
    assert_eq!(s3(&Moto::start(), WRITE_ONCE), conditional);
    assert_eq!(s3(&Rclone::start(), WRITE_ONCE), "made|put|put|two");
}

#[test]
fn servers_are_apart_and_keep_strangers_out() {
    let (one, two) = (Versitygw::start(), Versitygw::start());
    assert_ne!(one.port(), two.port());
    assert_eq!(s3(&one, WRITE_ONCE), "made|put|412 PreconditionFailed|one");
    assert_eq!(s3(&two, "say(lambda: body(Key='k'))"), "404 NoSuchBucket");
    for server in [&one as &Server, &Minio::start(), &Rclone::start()] {
        let wrong = (server.access_key(), two.secret_key());
        assert_eq!(s3_as(server, wrong, "say(lambda: s3.list_buckets())"), "403 SignatureDoesNotMatch", "{server:?}");
    }
}

#[test]
fn a_gateway_keeps_versions_under_lock_and_users_to_their_policy() {
    let server = Versitygw::with_versions_and_users();
    let (access, secret) = server.user("writer");
    let shown = s3(
        &server,
        r#"
import json
say(lambda: s3.create_bucket(Bucket='bucket', ObjectLockEnabledForBucket=True) and 'made')
s3.put_bucket_policy(Bucket='bucket', Policy=json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow',
    'Principal': ['writer'], 'Action': 's3:PutObject', 'Resource': 'arn:aws:s3:::bucket/*'}]}))
first = put('k', 'one')
put('k', 'two')
say(lambda: body(Key='k'))
say(lambda: body(Key='k', VersionId=first))
s3.put_object_legal_hold(Bucket='bucket', Key='k', VersionId=first, LegalHold={'Status': 'ON'})
say(lambda: s3.delete_object(Bucket='bucket', Key='k', VersionId=first))
"#,
    );
    assert_eq!(shown, "made|two|one|403 AccessDenied");
    let theirs = "say(lambda: put('theirs', 'x') and 'put')\nsay(lambda: body(Key='theirs'))";
    assert_eq!(s3_as(&server, (&access, &secret), theirs), "put|403 AccessDenied");
}

#[test]
fn two_gateways_serve_one_folder() {
    let one = Versitygw::with_versions_and_users();
    let mut two = one.second();
    assert_ne!(one.port(), two.port());
    assert_eq!(s3(&one, WRITE_ONCE), "made|put|412 PreconditionFailed|one");
    assert_eq!(s3(&two, "say(lambda: once('k', 'two'))\nsay(lambda: body(Key='k'))"), "412 PreconditionFailed|one");
    two.kill();
    // The folder is still the other's.
    drop(one);
    two.start_again();
    assert_eq!(s3(&two, "say(lambda: body(Key='k'))"), "one");
}

#[test]
fn a_key_service_encrypts_only_where_there_is_one() {
    let script = format!(
        "
s3.create_bucket(Bucket='bucket')
sse = lambda key: put('k', 'x', ServerSideEncryption='aws:kms', SSEKMSKeyId=key)
say(lambda: sse('{}'))
say(lambda: s3.head_object(Bucket='bucket', Key='k').get('ServerSideEncryption'))
",
        Minio::KMS_KEY
    );
    assert_eq!(s3(&Minio::with_kms(), &script), "put|aws:kms");
    assert!(s3(&Minio::start(), &script).starts_with("501 "), "it refuses what it cannot");
}

const BLOB: &str = "
import os
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
service = BlobServiceClient.from_connection_string(os.environ['AT'], connection_verify=os.environ.get('CA'))
blobs = service.get_container_client('container')
def say(call):
    try:
        print(call())
    except HttpResponseError as e:
        print(e.status_code, getattr(e.error_code, 'value', e.error_code))
once = lambda name, text: blobs.upload_blob(name, text) and 'put'
body = lambda name: blobs.download_blob(name).readall().decode()
";

fn blob(server: &Azurite, script: &str) -> String {
    let mut python = python::python();
    python.env("AT", server.connection_string()).envs(server.ca().map(|ca| ("CA", ca)));
    ran(python.args(["-c", &format!("{BLOB}{script}")]))
}

const BLOB_ONCE: &str = "
say(lambda: blobs.create_container() and 'made')
say(lambda: once('k', 'one'))
say(lambda: once('k', 'two'))
say(lambda: body('k'))
";

#[test]
fn azurite_writes_once_with_and_without_tls() {
    for server in [Azurite::start(), Azurite::with_oauth()] {
        assert_eq!(blob(&server, BLOB_ONCE), "made|put|409 BlobAlreadyExists|one");
    }
}

/// A token as Entra ID would issue it, but for the signature.
const BEARER: &str = "
import base64, json, ssl, time, urllib.request
part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip('=')
def token(audience):
    now = int(time.time())
    claims = {'aud': audience, 'iss': 'https://sts.windows.net/00000000-0000-0000-0000-000000000000/', 'iat': now - 9,
        'nbf': now - 9, 'exp': now + 900}
    return '.'.join([part({'alg': 'HS256', 'typ': 'JWT'}), part(claims), 'c2lnbmF0dXJl'])
def status(audience):
    request = urllib.request.Request(os.environ['URL'] + '?comp=list', headers={'Authorization': 'Bearer ' + token(audience),
        'x-ms-version': '2025-11-05'})
    try:
        return urllib.request.urlopen(request, context=ssl.create_default_context(cafile=os.environ['CA'])).status
    except urllib.error.HTTPError as e:
        return e.code
";

#[test]
fn azurite_takes_tokens_for_storage_alone() {
    let server = Azurite::with_oauth();
    let script =
        format!("import os\n{BEARER}\nprint(status('https://storage.azure.com'), status('https://example.org'))");
    let mut python = python::python();
    python.env("URL", format!("{}/", server.endpoint())).env("CA", server.ca().expect("it speaks TLS"));
    assert_eq!(ran(python.args(["-c", &script])), "200 403");
}

#[test]
fn moto_has_more_of_aws_and_the_command_line_program_speaks_to_it() {
    let server = Moto::start();
    let mut aws = python::aws();
    aws.envs(server.env()).args(["secretsmanager", "create-secret", "--name", "n", "--secret-string", "v"]);
    ran(&mut aws);
    let mut aws = python::aws();
    aws.envs(server.env()).args(["secretsmanager", "get-secret-value", "--secret-id", "n"]);
    assert_eq!(ran(aws.args(["--query", "SecretString", "--output", "text"])), "v");
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let read = "say(lambda: body(Key='k'))";
    let (mut versitygw, mut minio) = (Versitygw::with_versions_and_users(), Minio::start());
    for server in [&mut versitygw as &mut Server, &mut minio] {
        s3(server, WRITE_ONCE);
        for end in [Daemon::stop as fn(&mut Daemon), Daemon::kill] {
            let port = server.port();
            end(server);
            let unreachable = "
from botocore.exceptions import EndpointConnectionError
try:
    s3.list_buckets()
except EndpointConnectionError:
    print('down')
";
            assert_eq!(s3(server, unreachable), "down");
            server.start_again();
            assert_eq!((s3(server, read), server.port()), ("one".to_owned(), port));
        }
    }
    let mut azurite = Azurite::start();
    blob(&azurite, BLOB_ONCE);
    azurite.stop();
    azurite.start_again();
    assert_eq!(blob(&azurite, "say(lambda: body('k'))"), "one");
}

#[test]
fn terraform_needs_no_network_for_resources_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("main.tf"), "resource \"terraform_data\" \"one\" {\n  input = 7\n}\n").expect("room");
    for args in [&["init"][..], &["apply", "-auto-approve"]] {
        ran(terraform::command().args(args).current_dir(folder.path()));
    }
    let state = fs::read_to_string(folder.path().join("terraform.tfstate")).expect("it writes its state");
    assert!(state.contains("\"lineage\"") && state.contains("\"terraform_data\""), "{state}");
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let servers = one_of_each();
    let left: Vec<(u32, PathBuf)> = servers.daemons().map(|daemon| (daemon.pid(), home(daemon.pid()))).into();
    assert!(left.iter().all(|(_, home)| home.exists()), "{left:?}");
    drop(servers);
    for (pid, home) in left {
        assert!(!runs(&pid.to_string()) && !home.exists(), "{}", home.display());
    }
}

/// What makes this program one that is killed with servers running.
const DOOMED: &str = "BACKSTAY_DOOMED_TEST";

#[test]
fn no_server_outlives_a_killed_test() {
    let own = env::current_exe().expect("this program");
    let mut doomed = Command::new(own);
    doomed.args(["--exact", "waits_to_be_killed", "--nocapture"]).env(DOOMED, "1");
    let mut doomed = doomed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(doomed.stdout.take().expect("a pipe")).lines();
    let pids = lines.map_while(Result::ok).filter_map(|line| Some(line.rsplit_once("server ")?.1.to_owned()));
    let pids: Vec<String> = pids.take(5).collect();
    assert!(pids.len() == 5 && pids.iter().all(|pid| runs(pid)), "{pids:?}");
    doomed.kill().expect("it waits");
    for pid in pids {
        until("a server that ends with its test", || (!runs(&pid)).then_some(()));
    }
    doomed.wait().expect("it was killed");
}

#[test]
fn waits_to_be_killed() {
    if env::var_os(DOOMED).is_none() {
        return;
    }
    let servers = one_of_each();
    for daemon in servers.daemons() {
        println!("server {}", daemon.pid());
    }
    // Nobody writes to it.
    let _ = io::stdin().read(&mut [0]);
}

struct OneOfEach(Versitygw, Minio, Rclone, Moto, Azurite);

fn one_of_each() -> OneOfEach {
    OneOfEach(Versitygw::start(), Minio::start(), Rclone::start(), Moto::start(), Azurite::start())
}

impl OneOfEach {
    fn daemons(&self) -> [&Daemon; 5] {
        [&self.0, &self.1, &self.2, &self.3, &self.4]
    }
}

/// Where a server keeps what it keeps.
fn home(pid: u32) -> PathBuf {
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let home = environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"HOME="));
    PathBuf::from(OsStr::from_bytes(home.expect("it was given one")))
}

/// Not so of one that has ended and whom nobody has asked for its end yet.
fn runs(pid: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}
