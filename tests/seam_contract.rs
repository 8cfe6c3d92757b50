//! Every seam's real and fake implementation pass the same cases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "seam_contract/broken.rs"]
mod broken;
#[path = "seam_contract/fake.rs"]
mod fake;
#[path = "seam_contract/fetch.rs"]
mod fetch;
#[path = "seam_contract/files.rs"]
mod files;
#[path = "seam_contract/host.rs"]
mod host;
#[path = "support/http.rs"]
mod http;
#[path = "seam_contract/jobs.rs"]
mod jobs;
#[path = "seam_contract/local.rs"]
mod local;
#[path = "seam_contract/locks.rs"]
mod locks;
#[path = "seam_contract/locks_local.rs"]
mod locks_local;
#[path = "seam_contract/place.rs"]
mod place;
#[path = "seam_contract/rig.rs"]
mod rig;
#[path = "support/skip.rs"]
mod skip;
#[expect(
    dead_code,
    reason = "shared with the tests of SSH, which use all of it"
)]
#[path = "support/sshd.rs"]
mod sshd;
#[path = "seam_contract/upload.rs"]
mod upload;
