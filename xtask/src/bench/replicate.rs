//! A second vault against `cp` of the first one's folder.

use super::compare::{Ratio, alternate};
use super::data;
use super::place::Place;
use super::side::{OurSide, pipe};
use crate::result::Result;

/// Without shared blocks, and every file on the disk at the end, as ours.
const COPY: &str = r#"cp -r --reflink=never "$1" "$2"; find "$2" -type f -exec sync {} +"#;

/// 1 GiB that does not compress, so that the vault is as large. The second vault is there, as it is in every run but the first.
pub(super) fn local() -> Result<Ratio> {
    let (backup, create) = (OurSide::build("backup_stream")?, OurSide::build("replica_create")?);
    let replicate = OurSide::build("replicate_local")?;
    let (input, place) = (data::random()?, Place::new()?);
    let origin = place.fresh("origin")?;
    backup.run(&[&input, &origin])?;
    let vault = origin.join("vault");
    alternate(
        data::bytes_in(&vault)?,
        || {
            let ours = place.fresh("ours")?;
            create.run(&[&origin, &ours])?;
            let told = replicate.run(&[&origin, &ours])?;
            if told.value("points")? == 1.0 { Ok(told.run) } else { Err("the point was not copied".into()) }
        },
        || pipe(COPY, &[&vault, &place.fresh("theirs")?]),
    )
}
