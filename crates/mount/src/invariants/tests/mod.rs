//! Each property is broken by hand, seen, and mended: a judge that sees nothing proves nothing.

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;

mod inside;

use super::check_all;
use crate::dax::entry::{DaxEntry, PageEntry};
use crate::fs::mem::{MemFs, MemOptions};
use crate::ids::{FolioId, InodeId, MmId, PAGE_SHIFT, SbId};
use crate::mm::access::store_u64;
use crate::mm::mmap::{MapRequest, Share, mm_alloc, mmap};
use crate::mm::page_table::{Frame, Pte};
use crate::profile::{Personality, Profile};
use crate::runtime::Runtime;
use crate::runtime::threads::Shared;
use crate::vfs::mount::{MountRequest, mount};
use crate::vfs::namespace::At;
use crate::vfs::{open, rw};
use crate::world::World;
use crate::world::objects::{OpenFlags, VmFlags};
use crate::world::tasks::Cred;
use crate::xarray::Tag;

struct Fixture {
    world: World<MemFs>,
    inode: InodeId,
    mm: MmId,
    page: u64,
}

fn fixture() -> Fixture {
    let mut world = World::new();
    let mm = mm_alloc(&mut world);
    let task = world.tasks.spawn(Cred::ROOT, mm);
    let shared = Shared::new(world);
    let rt = shared.thread(task);
    let fs = MemFs::new(MemOptions { first_block: 513, ..MemOptions::default() }).expect("a device");
    let request = MountRequest {
        fs,
        personality: Personality::Ext4,
        profile: Profile::default(),
        dax: Some(DaxMode::Always),
        data: DataMode::Ordered,
        delalloc: true,
        device_dax: true,
        synchronous: true,
        partition: false,
        realtime: None,
        read_only: false,
    };
    mount(&rt, request).expect("mount");
    let at = At { sb: SbId(0), path: b"/f" };
    let file = open::open(&rt, at, OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("open");
    rw::write(&rt, file, Some(0), &[1; 2 * 4096]).expect("write");
    let prot = VmFlags::READ | VmFlags::WRITE;
    let share = Share::Shared;
    let wanted = MapRequest { file: Some(file), offset: 0, len: 4 * 4096, prot, share, sync: false, address: None };
    let address = mmap(&rt, &wanted).expect("mmap");
    store_u64(&rt, address, 1).expect("store");
    let inode = shared.with(|w| w.files[file].inode);
    let world = shared.with(|w| w.clone());
    let _ = rt.task();
    Fixture { world, inode, mm, page: address >> PAGE_SHIFT }
}

/// Breaks a copy of the world, and expects exactly these properties to be named.
fn sees(properties: &[u8], change: impl FnOnce(&mut World<MemFs>, &Fixture)) {
    let fixture = fixture();
    assert_eq!(check_all(&fixture.world), [], "the world is sound");
    let mut world = fixture.world.clone();
    change(&mut world, &fixture);
    let mut seen: Vec<u8> = check_all(&world).iter().map(|broken| broken.property).collect();
    seen.dedup();
    assert_eq!(seen, properties, "{:?}", check_all(&world));
    world.clone_from(&fixture.world);
    assert_eq!(check_all(&world), [], "and sound again");
}

#[test]
fn p3_a_folio_among_entries_and_a_wrong_count() {
    sees(&[3], |w, f| {
        let folio = w.alloc_folio(f.inode, 7);
        w.set_page_entry(f.inode, 7, PageEntry::Folio(folio));
    });
    sees(&[3], |w, f| w.inodes[f.inode].nrpages += 1);
    sees(&[3, 12], |w, f| w.inodes[f.inode].s_dax = false);
}

#[test]
fn p4_an_entry_or_a_page_of_another_block() {
    sees(&[4], |w, f| w.set_page_entry(f.inode, 1, PageEntry::Dax(DaxEntry::of_pfn(3, false))));
    sees(&[4], |w, f| w.tables.update(f.mm, f.page, |_| Pte::new(Frame::pmem(SbId(0), 3), true)));
    sees(&[4, 6], |w, f| {
        w.clear_page_entry(f.inode, 0);
    });
}

#[test]
fn p5_p6_p8_p9_of_page_tables() {
    sees(&[5], |w, f| {
        let folio = w.alloc_folio(f.inode, 9);
        assert_ne!(folio, FolioId::NONE);
        w.tables.set_pte(f.mm, f.page + 1, Pte::new(Frame::folio(folio), false));
    });
    sees(&[6], |w, f| w.inodes[f.inode].pages.set_tag(&mut w.nodes, 0, Tag::Dirty, false));
    sees(&[8], |w, f| w.tables.set_pte(f.mm, f.page + 1, Pte::new(Frame::ZERO, true).made_writable()));
    sees(&[9], |w, f| w.tables.set_pte(f.mm, f.page + 3, Pte::new(Frame::ZERO, true)));
}

#[test]
fn p10_an_entry_that_stays_locked() {
    sees(&[10], |w, f| {
        let Some(PageEntry::Dax(entry)) = w.page_entry(f.inode, 0) else { panic!("an entry is there") };
        w.set_page_entry(f.inode, 0, PageEntry::Dax(entry.locked()));
    });
}
