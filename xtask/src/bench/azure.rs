//! Azure Blob Storage against a loop over the SDK, both on Azurite.

use std::cell::Cell;
use std::process::Stdio;

use backstay_test_servers::azure::Azurite;
use backstay_test_servers::python::python;

use super::compare::{Ratio, alternate};
use super::data;
use super::side::{OurSide, bare, pipe};
use crate::result::{Doing, Result};
use crate::servers::start;

const BARE: &str = r#""$1" azure_upload "$2" "$3" "$4""#;
/// Makes a container and prints its URL with a SAS, which is all that a bare client of the SDK can sign with.
const CONTAINER: &str = "
import sys, datetime
from azure.storage.blob import BlobServiceClient, generate_container_sas
service = BlobServiceClient.from_connection_string(sys.argv[1])
container = service.create_container('bench')
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
sas = generate_container_sas(service.account_name, 'bench', service.credential.account_key, permission='rwlc', expiry=until)
print(container.url + '?' + sas)
";

/// 256 MiB in blocks.
pub(super) fn upload() -> Result<Ratio> {
    let (side, bare) = (OurSide::build("azure_upload")?, bare()?);
    let file = data::random_quarter()?;
    let server = start(Azurite::start)?;
    let mut client = python();
    client.args(["-c", CONTAINER, &server.connection_string()]).stderr(Stdio::inherit());
    let told = client.output().doing("run Python")?;
    let url = String::from_utf8(told.stdout).doing("read the container's URL")?;
    let (url, made) = (url.trim_end(), Cell::new(0));
    let blob = || {
        // What the server still writes of the run before is not this one's.
        pipe("sync", &[] as &[&str])?;
        Result::Ok(format!("blob-{}", made.replace(made.get() + 1)))
    };
    alternate(
        data::bytes_in(&file)?,
        || Ok(side.run(&[file.as_os_str(), url.as_ref(), blob()?.as_ref()])?.run),
        || pipe(BARE, &[bare.as_os_str(), file.as_os_str(), url.as_ref(), blob()?.as_ref()]),
    )
}
