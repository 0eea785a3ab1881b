//! The document that `--json` prints. Its schema is committed beside the tool; fields are added, never renamed or removed,
//! as long as the version stays.

use daxkit_build::options::{Level, Notice, Resolved};
use daxkit_build::report::{PlanReport, ResultReport};
use daxkit_build::source::Skipped;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use std::path::Path;

/// Version of the document's form.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What one run did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "dax-mkfs --json")]
pub(crate) struct Document {
    /// Version of this document's form.
    schema_version: u32,
    /// Version of the tool.
    tool_version: &'static str,
    /// The target.
    target: TargetReport,
    /// The layout; absent for an external journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanReport>,
    /// What was written; absent for a dry run and for an external journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<ResultReport>,
    /// An external journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) journal_device: Option<JournalDeviceReport>,
    /// What was decided or doubtful.
    notices: Vec<NoticeReport>,
    /// What of the source is not in the image, one line each.
    left_out: Vec<String>,
}

/// The target.
#[derive(Debug, Serialize, JsonSchema)]
struct TargetReport {
    /// As typed; bytes that are not UTF-8 are replaced.
    path: String,
    /// What was done.
    action: Action,
    /// Length of the file or device in bytes.
    bytes: u64,
    /// Where the file system begins.
    offset: u64,
}

/// What was done with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Nothing: a dry run.
    Planned,
    /// It is a new file.
    Created,
    /// Its old content is gone.
    Overwritten,
}

/// An external journal.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JournalDeviceReport {
    /// Bytes in a block.
    pub(crate) block_size: u32,
    /// Blocks of the device.
    pub(crate) blocks: u32,
    /// Its UUID; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
}

/// One line for the user.
#[derive(Debug, Serialize, JsonSchema)]
struct NoticeReport {
    /// How much it matters.
    level: LevelReport,
    /// The line.
    text: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LevelReport {
    /// Something was decided that the user did not say.
    Note,
    /// Something may not be what the user wants.
    Warning,
}

impl From<&Notice> for NoticeReport {
    fn from(notice: &Notice) -> Self {
        let level = match notice.level {
            Level::Note => LevelReport::Note,
            Level::Warning => LevelReport::Warning,
        };
        Self { level, text: notice.text.clone() }
    }
}

impl Document {
    pub(crate) fn new(path: &Path, action: Action, resolved: &Resolved, skipped: &[Skipped]) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool_version: env!("CARGO_PKG_VERSION"),
            target: TargetReport {
                path: path.to_string_lossy().into_owned(),
                action,
                bytes: resolved.image_len,
                offset: resolved.offset,
            },
            plan: None,
            result: None,
            journal_device: None,
            notices: resolved.notices.iter().map(NoticeReport::from).collect(),
            left_out: skipped.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The schema of [`Document`].
pub(crate) fn schema() -> Schema {
    schema_for!(Document)
}
