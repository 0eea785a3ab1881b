//! A fixture for each code: an image that has exactly these findings and no other.
//!
//! `fixtures.txt` has a line for each: the code, the image it is made from, what is changed in it (`PLACE=HEX`, `!` for checksums that are left
//! stale), and the findings in order. `DAXKIT_BLESS=1 cargo test -p daxkit-tests --test check fixtures` looks for what is missing and writes the
//! file anew; what it found is then for the reviewer.

use crate::bases::{self, Base};
use crate::by_hand;
use crate::mutate::{Chance, Targets, change, mutate};
use crate::verdict::ours;
use daxkit_check::Code;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Images looked at for what is missing.
const ROUNDS: u64 = 40_000;

/// One fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fixture {
    base: String,
    changes: Vec<String>,
    findings: Vec<String>,
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("check/fixtures.txt")
}

fn read() -> BTreeMap<String, Fixture> {
    let text = fs::read_to_string(place()).unwrap_or_default();
    let list = |part: &str| part.split("; ").map(str::to_owned).collect();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let [code, base, changes, findings] = parts.as_slice() else { panic!("fixtures.txt: {line}") };
            let fixture = Fixture { base: (*base).to_owned(), changes: list(changes), findings: list(findings) };
            ((*code).to_owned(), fixture)
        })
        .collect()
}

fn found(bytes: &[u8]) -> Vec<String> {
    ours(bytes).findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect()
}

pub(crate) fn broken(base: &Base, changes: &[String]) -> Vec<u8> {
    let mut bytes = base.bytes.clone();
    for text in changes {
        let (text, sealed) = text.strip_suffix('!').map_or((text.as_str(), true), |text| (text, false));
        let (place, hex) = text.rsplit_once('=').expect("PLACE=HEX");
        let value: Vec<u8> =
            (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).expect("hexadecimal")).collect();
        assert!(change(&mut bytes, place, &value, sealed).is_some(), "{place} is not there");
    }
    bytes
}

/// Looks for the codes that have no fixture.
fn bless(bases: &[Base], fixtures: &mut BTreeMap<String, Fixture>) {
    let targets: Vec<Targets> = bases.iter().map(|base| Targets::of(&base.bytes)).collect();
    for round in 0..ROUNDS {
        let mut chance = Chance::new(round + 1_000_000);
        let which = chance.below(bases.len() as u64) as usize;
        let mut bytes = bases[which].bytes.clone();
        let mutations = mutate(&mut bytes, &targets[which], &mut chance);
        if mutations.len() > 2 {
            continue;
        }
        let findings = found(&bytes);
        let changes: Vec<String> = mutations
            .iter()
            .map(|m| {
                let hex: String = m.edits[0].1.iter().map(|b| format!("{b:02x}")).collect();
                format!("{}={hex}{}", m.place, if m.sealed { "" } else { "!" })
            })
            .collect();
        for finding in &findings {
            let code = finding.split(' ').next().expect("a code").to_owned();
            let fewer = fixtures
                .get(&code)
                .is_none_or(|old| (findings.len(), changes.len()) < (old.findings.len(), old.changes.len()));
            if fewer && findings.len() < 12 && found(&broken(&bases[which], &changes)) == findings {
                let fixture =
                    Fixture { base: bases[which].name.clone(), changes: changes.clone(), findings: findings.clone() };
                fixtures.insert(code, fixture);
            }
        }
    }
    write(fixtures);
}

fn write(fixtures: &BTreeMap<String, Fixture>) {
    let mut text = String::from("# CODE | image | changes | findings\n");
    for (code, fixture) in fixtures {
        let (changes, findings) = (fixture.changes.join("; "), fixture.findings.join("; "));
        writeln!(text, "{code} | {} | {changes} | {findings}", fixture.base).expect("a string");
    }
    fs::write(place(), text).expect("written");
}

#[test]
fn every_code_has_a_fixture_with_exactly_its_findings() {
    let scratch = bases::scratch();
    let bases = bases::make(scratch.path());
    let mut fixtures = read();
    if std::env::var_os("DAXKIT_BLESS").is_some_and(|v| v == "1") {
        bless(&bases, &mut fixtures);
    }
    // A line that says `?` gets what is found.
    let mut filled = false;
    for fixture in fixtures.values_mut().filter(|fixture| fixture.findings == ["?"]) {
        let base = bases.iter().find(|base| base.name == fixture.base).expect("an image");
        fixture.findings = found(&broken(base, &fixture.changes));
        filled = true;
    }
    if filled {
        write(&fixtures);
    }
    let mut wrong = Vec::new();
    for (code, fixture) in &fixtures {
        let Some(base) = bases.iter().find(|base| base.name == fixture.base) else {
            wrong.push(format!("{code}: no image is made by {}", fixture.base));
            continue;
        };
        let findings = found(&broken(base, &fixture.changes));
        if !findings.iter().any(|finding| finding.starts_with(code.as_str())) {
            wrong.push(format!("{code}: {:?} does not have it: {findings:?}", fixture.changes));
        }
        if findings != fixture.findings {
            wrong.push(format!(
                "{code}: {:?}\n  expected {:?}\n  found    {findings:?}",
                fixture.changes, fixture.findings
            ));
        }
    }
    let by_hand = by_hand::codes();
    let missing: Vec<String> = Code::ALL
        .iter()
        .filter(|code| !fixtures.contains_key(code.id()) && !by_hand.contains(code))
        .map(|code| format!("{} {code:?}", code.id()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(missing.is_empty(), "codes without a fixture:\n{}", missing.join("\n"));
}
