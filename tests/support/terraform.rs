//! The real program, with its state in a bucket.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use backstay::Secret;
use backstay::aws::{LockTable, VersionedObjects};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::s3::{Minio, Server, Versitygw};
use backstay_test_servers::{terraform, until};
use tempfile::TempDir;

use super::s3::{Kind, boto, make, open};

pub const BUCKET: &str = "states";
pub const KEY: &str = "network/terraform.tfstate";
pub const TABLE: &str = "locks";

/// Some names, a secret, and a resource that is made only once the file that `hold` names is there.
const CONFIGURATION: &str = r#"
variable "names" {
  type    = set(string)
  default = []
}
variable "password" {
  type      = string
  default   = "none"
  sensitive = true
}
variable "hold" {
  type    = string
  default = ""
}
resource "terraform_data" "named" {
  for_each = var.names
  input    = each.key
}
resource "terraform_data" "secret" {
  input = var.password
}
resource "terraform_data" "held" {
  count = var.hold == "" ? 0 : 1
  provisioner "local-exec" {
    command = "touch ${var.hold}.held; while [ ! -e ${var.hold} ]; do sleep 0.1; done"
  }
}
output "names" {
  value = var.names
}
output "password" {
  value     = var.password
  sensitive = true
}
"#;

/// A bucket with versions, and a working folder of Terraform whose state lies there.
pub struct Backend<S> {
    s3: S,
    /// It has the table of locks, if there is one.
    moto: Option<Moto>,
    folder: TempDir,
}

impl Backend<Versitygw> {
    /// Locks and digests lie in a table.
    pub fn with_table() -> Self {
        let moto = Moto::start();
        boto(
            &moto,
            &format!(
                "boto3.client('dynamodb').create_table(TableName='{TABLE}', BillingMode='PAY_PER_REQUEST',
                    KeySchema=[{{'AttributeName': 'LockID', 'KeyType': 'HASH'}}],
                    AttributeDefinitions=[{{'AttributeName': 'LockID', 'AttributeType': 'S'}}])"
            ),
        );
        let dynamodb = moto.endpoint();
        let locks = format!("dynamodb_table = \"{TABLE}\"");
        Self::new(Versitygw::with_versions_and_users(), Some(moto), &dynamodb, &locks)
    }
}

impl Backend<Minio> {
    /// Locks are files in the bucket. versitygw takes a delete marker, which each lock leaves, for an object.
    pub fn with_lock_file() -> Self {
        Self::new(Minio::start(), None, "", "use_lockfile = true")
    }
}

impl<S: Deref<Target = Server>> Backend<S> {
    fn new(s3: S, moto: Option<Moto>, dynamodb: &str, locks: &str) -> Self {
        make(&s3, &[(BUCKET, Kind::Versioned)]);
        let folder = tempfile::tempdir().expect("a folder");
        let dynamodb = if dynamodb.is_empty() { String::new() } else { format!("dynamodb = \"{dynamodb}\"") };
        let backend = format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"{BUCKET}\"\n    key = \"{KEY}\"\n    region = \"us-east-1\"\n    \
             endpoints = {{\n      s3 = \"{}\"\n      {dynamodb}\n    }}\n    {locks}\n    use_path_style = true\n    \
             skip_credentials_validation = true\n    skip_region_validation = true\n    \
             skip_requesting_account_id = true\n    skip_metadata_api_check = true\n  }}\n}}\n",
            s3.endpoint()
        );
        fs::write(folder.path().join("main.tf"), format!("{backend}{CONFIGURATION}")).expect("room");
        let made = Self { s3, moto, folder };
        made.runs(&["init"]);
        made
    }

    pub fn server(&self) -> &Server {
        &self.s3
    }

    /// Where Terraform works.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn terraform(&self, args: &[&str]) -> Command {
        let mut command = terraform::command();
        command.args(args).arg("-no-color").current_dir(self.folder.path());
        command.env("AWS_ACCESS_KEY_ID", self.s3.access_key()).env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key());
        command
    }

    /// What it prints, both ways, and how it ends.
    pub fn ends(&self, args: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.terraform(args).output().expect("it runs");
        let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        (status.code().expect("it ends by itself"), text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub fn runs(&self, args: &[&str]) -> String {
        let (code, text) = self.ends(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    }

    /// Applies with these names, as `["a", "b"]`.
    pub fn apply(&self, names: &str) {
        self.runs(&["apply", "-auto-approve", &format!("-var=names={names}")]);
    }

    /// 0 if nothing would change, 2 if something would, 1 if it fails.
    pub fn plan(&self, names: &str) -> (i32, String) {
        self.ends(&["plan", "-detailed-exitcode", &format!("-var=names={names}")])
    }

    /// An apply that holds the lock until it is let go.
    pub fn holding(&self) -> Holding {
        let file = self.path("let-go");
        let mut apply = self.terraform(&["apply", "-auto-approve"]);
        apply.arg(format!("-var=hold={}", file.display())).stdout(Stdio::null()).stderr(Stdio::null());
        let apply = apply.spawn().expect("it starts");
        let held = self.path("let-go.held");
        until("an apply that has begun", || held.exists().then_some(()));
        Holding { apply, file }
    }

    /// The states, with the locks that this backend has.
    pub async fn states(&self) -> VersionedObjects {
        let store = open(&self.s3, BUCKET).await;
        let states = VersionedObjects::terraform(store.clone(), KEY.parse().expect("a key"));
        let Some(moto) = &self.moto else { return states.use_lockfile() };
        let table = LockTable::beside(&store, TABLE)
            .endpoint(moto.endpoint())
            .credentials("any", Secret::new("any".to_owned()))
            .build()
            .await;
        states.lock_table(table.expect("the table was made"))
    }

    /// Runs Python with `s3` and `table`.
    pub fn python(&self, lines: &str) -> String {
        let table = self.moto.as_ref().map_or(String::new(), |moto| {
            format!("table = boto3.resource('dynamodb', endpoint_url='{}').Table('{TABLE}')\n", moto.endpoint())
        });
        boto(&self.s3, &format!("{table}{lines}"))
    }

    /// Copies a version over the current one, as one does by hand.
    pub fn copy_naively(&self, version: &str) {
        self.python(&format!(
            "s3.copy_object(Bucket='{BUCKET}', Key='{KEY}',
                CopySource={{'Bucket': '{BUCKET}', 'Key': '{KEY}', 'VersionId': '{version}'}})"
        ));
    }
}

/// An apply under way.
pub struct Holding {
    apply: Child,
    file: PathBuf,
}

impl Holding {
    /// Lets it end.
    pub fn let_go(mut self) {
        fs::write(&self.file, "").expect("room");
        assert!(self.apply.wait().expect("it was started").success());
    }
}
