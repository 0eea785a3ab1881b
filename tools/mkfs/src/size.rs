//! SIZE `auto`: the size that follows from the content.

use anyhow::{Context, Result, anyhow, bail};
use daxkit_build::auto_size::{Reserve, Search};
use daxkit_build::options::{self, Facts, PmemAlign, Request, Resolved};
use daxkit_build::params::Params;
use daxkit_build::plan::{Needs, RangeOverrides};
use daxkit_build::source::Tree;
use daxkit_format::ext4::features::Incompat;

/// Whether the size follows from the content: because that was asked for, or because a new image has content and no SIZE.
pub(crate) fn is_auto(request: &Request, facts: &Facts) -> bool {
    match request.size.as_deref() {
        Some(size) => size.eq_ignore_ascii_case("auto"),
        None => facts.target.is_none() && facts.content.is_some(),
    }
}

/// The size that was found.
pub(crate) struct Sized {
    pub(crate) resolved: Resolved,
    /// What the content needs, worked out once.
    pub(crate) needs: Needs,
}

/// Finds the smallest file system for `tree` and the reserve.
pub(crate) fn find(
    request: &Request,
    facts: &Facts,
    tree: &Tree,
    overrides: impl FnOnce(&Params) -> Result<RangeOverrides>,
) -> Result<Sized> {
    let reserve = match request.reserve.as_deref() {
        None => Reserve::Bytes(0),
        Some(text) => Reserve::parse(text)
            .ok_or_else(|| anyhow!("--reserve {text}: wants bytes (K, M, G, T), or a percentage up to 95%"))?,
    };
    let resolve = |blocks| {
        // A target that is there already is made longer or used in part; how long it is does not count.
        let facts = Facts { target: None, ..*facts };
        let request = Request { blocks: Some(blocks), ..request.clone() };
        options::resolve(&request, &facts).map(|resolved| resolved.params)
    };
    let align = request.pmem_align.unwrap_or(PmemAlign::Mib2).bytes();
    let search = Search { resolve: &resolve, tree, reserve, align };
    let sample = search.sample()?;
    if sample.features.incompat.contains(Incompat::JOURNAL_DEV) {
        bail!("SIZE auto: a journal device holds no content that could tell its size");
    }
    let needs = Needs::new(&sample, tree, overrides(&sample)?)?;
    let blocks = search.smallest(&needs)?;
    let request = Request { blocks: Some(blocks), ..request.clone() };
    let resolved = options::resolve(&request, facts).context("SIZE auto")?;
    Ok(Sized { resolved, needs })
}

/// `--reserve` says nothing where the size is given.
pub(crate) fn check_reserve(request: &Request) -> Result<()> {
    if let Some(text) = &request.reserve {
        bail!("--reserve {text}: only SIZE auto keeps a reserve");
    }
    Ok(())
}
