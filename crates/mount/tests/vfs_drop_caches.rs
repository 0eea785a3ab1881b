//! `drop_caches`, step by step: how many inodes it holds on to.

mod common;

use common::{as_far_as_it_goes, at, mem, request, stepped};
use daxkit_format::dax::DaxMode;
use daxkit_mount::fs::mem::MemFs;
use daxkit_mount::ids::{InodeId, TaskId};
use daxkit_mount::invariants::check_all;
use daxkit_mount::mm::access::load_u64;
use daxkit_mount::mm::mmap::{self, MapRequest, Share};
use daxkit_mount::profile::Personality;
use daxkit_mount::runtime::stepping::Stepper;
use daxkit_mount::vfs::icache::drop_caches;
use daxkit_mount::vfs::{namespace, open, rw, sync};
use daxkit_mount::world::objects::{OpenFlags, VmFlags};

const FILES: [&str; 4] = ["/a", "/b", "/c", "/d"];

/// Four files that nobody has open, a clean page of each in the page cache.
fn machine() -> Stepper<MemFs> {
    let mut m = stepped(request(mem(Personality::Ext4), Personality::Ext4, Some(DaxMode::Never)));
    let program = m.start(TaskId(0), |rt| {
        for name in FILES {
            let file = open::open(rt, at(name), OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
            rw::write(rt, file, Some(0), &[7; 4096]).expect("write");
            open::close(rt, file).expect("close");
        }
        sync::sync(rt).expect("sync");
    });
    assert!(as_far_as_it_goes(&mut m, program));
    m
}

fn inodes(m: &Stepper<MemFs>) -> Vec<InodeId> {
    m.with(|w| FILES.map(|name| namespace::peek(w, &at(name)).expect("it is there")).to_vec())
        .into_iter()
        .map(|ino| m.with(|w| w.inodes.ids().into_iter().find(|&id| w.inodes[id].ino == ino).expect("in memory")))
        .collect()
}

#[test]
fn two_inodes_are_held_at_a_time_and_none_after() {
    let mut m = machine();
    let ids = inodes(&m);
    let refs = |m: &Stepper<MemFs>| m.with(|w| ids.iter().map(|&id| w.inodes[id].refs).collect::<Vec<_>>());
    let before = refs(&m);
    assert_eq!(m.with(|w| ids.iter().map(|&id| w.inodes[id].nrpages).collect::<Vec<_>>()), [1; 4]);
    let program = m.start(TaskId(0), |rt| drop_caches(rt, 1).expect("drop"));
    let mut seen = Vec::new();
    while m.enabled(program) {
        m.advance(program);
        let held: Vec<_> = (0..4).filter(|&at| refs(&m)[at] > before[at]).collect();
        if seen.last() != Some(&held) {
            seen.push(held);
        }
    }
    assert_eq!(seen, [vec![], vec![0], vec![0, 1], vec![1], vec![1, 2], vec![2], vec![2, 3], vec![3], vec![]]);
    assert_eq!(m.with(|w| ids.iter().map(|&id| w.inodes[id].nrpages).collect::<Vec<_>>()), [0; 4]);
    assert_eq!(m.with(|w| check_all(w)), []);
}

#[test]
fn a_file_that_the_walk_is_not_at_goes_with_its_last_name() {
    let mut m = machine();
    let ids = inodes(&m);
    let refs = |m: &Stepper<MemFs>, at: usize| m.with(|w| w.inodes[ids[at]].refs);
    let first = refs(&m, 0);
    let program = m.start(TaskId(0), |rt| drop_caches(rt, 1).expect("drop"));
    while refs(&m, 0) == first {
        m.advance(program);
    }
    let other = m.start(TaskId(1), |rt| namespace::unlink(rt, at("/d")).expect("unlink"));
    assert!(as_far_as_it_goes(&mut m, other));
    assert!(!m.with(|w| w.inodes.ids().contains(&ids[3])), "nobody holds it");
    assert!(as_far_as_it_goes(&mut m, program));
    assert_eq!(m.with(|w| check_all(w)), []);
}

#[test]
fn dax_entries_stay_and_mapped_pages_do() {
    for dax in [DaxMode::Never, DaxMode::Always] {
        let mut m = stepped(request(mem(Personality::Ext4), Personality::Ext4, Some(dax)));
        let program = m.start(TaskId(0), |rt| {
            let file = open::open(rt, at("/f"), OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
            rw::write(rt, file, Some(0), &[7; 8192]).expect("write");
            sync::sync(rt).expect("sync");
            let wanted = MapRequest {
                file: Some(file),
                offset: 0,
                len: 8192,
                prot: VmFlags::READ,
                share: Share::Shared,
                sync: false,
                address: None,
            };
            let map = mmap::mmap(rt, &wanted).expect("mmap");
            load_u64(rt, map).expect("load");
            drop_caches(rt, 1).expect("drop");
            load_u64(rt, map).expect("load");
        });
        assert!(as_far_as_it_goes(&mut m, program));
        let pages = m.with(|w| w.inodes.ids().into_iter().map(|id| w.inodes[id].nrpages).sum::<u64>());
        assert_eq!(pages, 1, "{dax:?}");
    }
}
