//! What e2fsck 1.47 does not notice, or does not accept although it is right: a short list, each with its reason.

use daxkit_check::{Code, Finding, Severity};

/// A row: a name, and whether it explains that we find something where e2fsck finds nothing.
pub(crate) struct Omission {
    pub(crate) name: &'static str,
    explains: fn(&Finding) -> bool,
}

/// The rows.
pub(crate) const OMISSIONS: &[Omission] = &[Omission {
    name: "a name that comes twice in two blocks of a directory without an index",
    explains: |finding| finding.code == Code::EntryDuplicate,
}];

/// The row that explains all findings, if one does.
pub(crate) fn explanation(findings: &[Finding]) -> Option<&'static str> {
    let errors = || findings.iter().filter(|f| f.code.severity() != Severity::Advice);
    OMISSIONS.iter().find(|row| errors().all(row.explains)).map(|row| row.name)
}
