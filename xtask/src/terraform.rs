//! Terraform of the system, or OpenTofu.

use backstay_test_servers::terraform::{of_the_system, program};

use crate::go::{self, Source};
use crate::result::Result;

/// As in its own `go.mod`.
const REPLACE: &str =
    "replace github.com/hashicorp/hcl/v2 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828";

/// Builds OpenTofu where the system has neither.
pub(crate) fn ensure() -> Result<()> {
    if of_the_system().is_some() {
        return Ok(());
    }
    let module = "github.com/opentofu/opentofu";
    go::ensure(&[Source { program: program(), module, folder: "/cmd/tofu", replace: REPLACE }])
}
