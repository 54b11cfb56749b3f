//! Terraform's state in a bucket: protected, emptied by accident, compared, and brought back so that the next plan works.
//!
//! ```text
//! cargo xtask example terraform_state
//! ```
//!
//! It starts a server with S3 and DynamoDB for itself. Where neither `terraform` nor `tofu` is there, it plays their part.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use backstay::aws::s3_versions::{Chosen, State};
use backstay::aws::{LockTable, S3Store, VersionedObjects};
use backstay::source::{ImportAction, ImportOptions};
use backstay::store::Key;
use backstay::{Backstay, ErrorKind, Keep, Keyring, LocalStore, Secret, Tier, Vault};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::{python, terraform};
use futures_util::TryStreamExt;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const KEY: &str = "network/terraform.tfstate";

#[tokio::main]
async fn main() -> Outcome {
    let (server, place) = (Moto::start(), tempfile::tempdir()?);
    aws(&server, "s3api create-bucket --bucket acme-states")?;
    aws(&server, "s3api put-bucket-versioning --bucket acme-states --versioning-configuration Status=Enabled")?;
    aws(
        &server,
        "dynamodb create-table --table-name locks --billing-mode PAY_PER_REQUEST --key-schema AttributeName=LockID,KeyType=HASH \
         --attribute-definitions AttributeName=LockID,AttributeType=S",
    )?;

    // In a program at Amazon: `S3Store::from_env("acme-states")` and `LockTable::beside(&store, "locks").build()`.
    let secret = Secret::new(server.secret_key().to_owned());
    let store = S3Store::builder("acme-states")
        .endpoint(server.endpoint())
        .credentials(server.access_key(), secret)
        .build()
        .await?;
    let locks = LockTable::beside(&store, "locks").endpoint(server.endpoint()).build().await?;
    let states = VersionedObjects::terraform(store, KEY.parse()?).lock_table(locks).choose(Chosen::Newest(10));
    let key = states.state_key("default")?;

    // Somebody works with Terraform.
    let work = Work::new(place.path(), &server, &states)?;
    work.apply(&["vpc", "subnet"]).await?;
    work.apply(&["vpc", "subnet", "database"]).await?;

    let vault =
        Vault::create(LocalStore::create(place.path().join("vault"))?).keyring(&Keyring::generate()?).build().await?;
    let backstay = Backstay::builder("acme", vault)
        .export("states", states.clone())
        .tier(Tier::new("daily").keep(Keep::daily(30)))
        .build()?;
    let point = backstay.backup("daily").await?;
    println!("{}\n", backstay.explain(&point.id).await?);

    // The accident, and what it did.
    work.apply(&[]).await?;
    let versions: Vec<_> = states.versions().try_collect().await?;
    for version in &versions {
        println!("{version}");
    }
    let [emptied, good, ..] = &versions[..] else { return Err("the bucket keeps no versions".into()) };
    let good = good.version.clone();
    let read = async |version: &str| State::parse(states.pull(&key, Some(version)).await?.expose());
    let diff = read(&good).await?.diff(&read(&emptied.version).await?);
    println!("\nWhat the accident did: {diff}\n");
    if diff.removed.len() != 3 {
        return Err("it did something else".into());
    }

    // A copy of the earlier version would leave the digest of the emptied one in the table, and Terraform would refuse it.
    let plan = states.plan_bring_back(&key, &good).await?;
    println!("{plan}\n");
    states.bring_back(plan).await?;
    work.expects_no_change(&["vpc", "subnet", "database"]).await?;

    // While somebody holds the lock nothing is touched.
    let info = r#"{"ID":"6f1c","Operation":"OperationTypeApply","Who":"alice@laptop","Created":"today"}"#;
    let item = |name: &str| format!(r#"{{"LockID":{{"S":"acme-states/{KEY}"}}{name}}}"#);
    let lock = item(&format!(r#","Info":{{"S":{}}}"#, serde_json::to_string(info)?));
    aws_with(&server, "dynamodb put-item --table-name locks --item", &lock)?;
    match states.plan_bring_back(&key, &good).await {
        Err(error) if error.kind() == ErrorKind::Busy => println!("while it is locked: {error}\n"),
        other => return Err(format!("a lock was overlooked: {other:?}").into()),
    }
    aws_with(&server, "dynamodb delete-item --table-name locks --key", &item(""))?;

    // The bucket emptied by somebody who may do that: the vault has the state.
    for version in states.versions().try_collect::<Vec<_>>().await? {
        aws(
            &server,
            &format!("s3api delete-object --bucket acme-states --key {KEY} --version-id {}", version.version),
        )?;
    }
    let restore = backstay.restore(&point.id).component("states").into(states.clone());
    let plan = restore.options(ImportOptions::default()).plan().await?;
    println!("{}", plan.import);
    if plan.import.count(ImportAction::Create) != 1 {
        return Err("there is something in the bucket".into());
    }
    plan.apply().await?;
    work.expects_no_change(&["vpc", "subnet", "database"]).await?;
    println!("\nTwice lost, twice back, and the next plan changes nothing.");
    Ok(())
}

/// Somebody who works with Terraform, or plays so.
struct Work<'a> {
    folder: PathBuf,
    server: &'a Moto,
    states: &'a VersionedObjects,
    key: Key,
    program: bool,
}

impl<'a> Work<'a> {
    fn new(place: &Path, server: &'a Moto, states: &'a VersionedObjects) -> Outcome<Self> {
        let program = terraform::of_the_system().is_some() || terraform::program().file("bin/tofu").exists();
        let work = Self { folder: place.join("work"), server, states, key: KEY.parse()?, program };
        fs::create_dir(&work.folder)?;
        let endpoint = server.endpoint();
        let backend = format!(
            r#"terraform {{
  backend "s3" {{
    bucket         = "acme-states"
    key            = "{KEY}"
    region         = "us-east-1"
    dynamodb_table = "locks"
    endpoints      = {{ s3 = "{endpoint}", dynamodb = "{endpoint}" }}
    use_path_style = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
  }}
}}
variable "names" {{ type = set(string) }}
resource "terraform_data" "part" {{
  for_each = var.names
  input    = each.key
}}
"#
        );
        fs::write(work.folder.join("main.tf"), backend)?;
        if program {
            work.terraform(&["init"], &[])?;
        } else {
            println!("neither terraform nor tofu is there: their part is played\n");
        }
        Ok(work)
    }

    async fn apply(&self, names: &[&str]) -> Outcome {
        if self.program {
            return self.terraform(&["apply", "-auto-approve"], names).map(drop);
        }
        let serial = match self.states.pull(&self.key, None).await {
            Ok(state) => State::parse(state.expose())?.serial(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        let instance =
            |name| serde_json::json!({"index_key": name, "schema_version": 0, "attributes": {"input": name}});
        let part = serde_json::json!({"mode": "managed", "type": "terraform_data", "name": "part", "provider": "builtin",
            "instances": names.iter().map(instance).collect::<Vec<_>>()});
        let state = serde_json::json!({"version": 4, "terraform_version": "1.11.4", "serial": serial + 1, "lineage": "0b2c",
            "outputs": {}, "resources": if names.is_empty() { vec![] } else { vec![part] }});
        let state = serde_json::to_vec_pretty(&state)?;
        let plan = self.states.plan_push(&self.key, &state).await?;
        self.states.push(plan, &state).await?;
        Ok(())
    }

    /// The next plan works, and finds everything as it should be.
    async fn expects_no_change(&self, names: &[&str]) -> Outcome {
        if self.program {
            return self.terraform(&["plan", "-detailed-exitcode"], names).map(drop);
        }
        // This compares the digest, as Terraform does first of all.
        let state = State::parse(self.states.pull(&self.key, None).await?.expose())?;
        if state.addresses().count() == names.len() { Ok(()) } else { Err("the state is another one".into()) }
    }

    fn terraform(&self, args: &[&str], names: &[&str]) -> Outcome {
        let mut command = terraform::command();
        command.args(args).current_dir(&self.folder).env("TF_VAR_names", serde_json::to_string(names)?);
        command.envs(self.server.env()).env_remove("AWS_ENDPOINT_URL");
        let output = command.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("terraform {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }
}

fn aws(server: &Moto, words: &str) -> Outcome {
    run(python::aws().envs(server.env()).args(words.split_whitespace()))
}

fn aws_with(server: &Moto, words: &str, last: &str) -> Outcome {
    run(python::aws().envs(server.env()).args(words.split_whitespace()).arg(last))
}

fn run(command: &mut std::process::Command) -> Outcome {
    let output = command.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}
