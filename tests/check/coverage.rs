//! Which of e2fsck's problems have a counterpart among our findings.

use crate::corpus::corpus;
use crate::shared::tools;
use daxkit_check::Code;
use std::collections::BTreeSet;
use std::fs;

/// Problems that e2fsck mends, and at least this many of them we know.
const AT_LEAST: usize = 230;

#[test]
fn most_problems_that_e2fsck_mends_have_a_finding() {
    let Some(corpus) = corpus() else { return };
    let text = fs::read(corpus.join("e2fsck-codes.json")).expect("the corpus has the codes");
    let codes: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let known: BTreeSet<u32> = Code::ALL.iter().flat_map(|code| code.e2fsck()).copied().collect();
    let (mut all, mut missing, mut numbers) = (0, Vec::new(), BTreeSet::new());
    for code in codes.as_array().expect("a list") {
        let number = code["code"].as_str().and_then(|n| u32::from_str_radix(n.trim_start_matches("0x"), 16).ok());
        let number = number.expect("a number");
        numbers.insert(number);
        if code["fixable"].as_bool() == Some(true) {
            all += 1;
            if !known.contains(&number) {
                missing.push(format!("{number:#08x} {}", code["name"].as_str().unwrap_or_default()));
            }
        }
    }
    tools::note(format!(
        "{} of {all} problems that e2fsck mends have a finding; not: {}",
        all - missing.len(),
        missing.join(", ")
    ));
    let invented: Vec<_> = known.difference(&numbers).collect();
    assert!(invented.is_empty(), "numbers that e2fsck has not: {invented:x?}");
    assert!(all - missing.len() >= AT_LEAST, "{missing:#?}");
}
