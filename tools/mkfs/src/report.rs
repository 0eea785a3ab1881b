//! The document that `--json` prints. Its schema is committed beside the tool; fields are added, never renamed or removed,
//! as long as the version stays.

use crate::outputs::BlockMap;
use daxkit_build::defect::Applied;
use daxkit_build::options::{Level, Notice, Resolved};
use daxkit_build::report::{PlanReport, ResultReport};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
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
    /// Where the blocks of the files lie that -g names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) block_maps: Vec<BlockMap>,
    /// What is wrong with the image on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) defects: Vec<DefectReport>,
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

/// Something that is wrong on purpose.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DefectReport {
    /// What the recipe calls it.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// Where, as a place that dax-debugfs knows.
    place: String,
    /// Byte of the file system.
    offset: u64,
    /// What stood there.
    before: String,
    /// What stands there now.
    after: String,
}

impl From<&Applied> for DefectReport {
    fn from(a: &Applied) -> Self {
        Self {
            name: a.name.clone(),
            place: a.place.clone(),
            offset: a.offset,
            before: a.before.clone(),
            after: a.after.clone(),
        }
    }
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
    pub(crate) fn with_maps(self, block_maps: Vec<BlockMap>) -> Self {
        Self { block_maps, ..self }
    }

    pub(crate) fn new(path: &Path, action: Action, resolved: &Resolved, left_out: &[String]) -> Self {
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
            block_maps: Vec::new(),
            defects: Vec::new(),
            notices: resolved.notices.iter().map(NoticeReport::from).collect(),
            left_out: left_out.to_vec(),
        }
    }
}

/// The schema of what is printed for a `T`: fields that are left out where there is nothing to say are not required.
pub(crate) fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}
